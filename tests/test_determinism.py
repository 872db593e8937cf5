"""Large sums keep their order: the optimizer's pass that gives it up is seen with its default, and gone without."""

import subprocess
import sys
import textwrap

import pytest

SCRIPT = textwrap.dedent(
    """
    import tensorflow as tf
    from tensorflow.python.eager import context
    from rar_tf import determinism

    if {ordered}:
        determinism.sum_in_order()

    @tf.function
    def total(x):
        return tf.add_n([tf.sin(k * x) for k in range(2, 6)])

    context.context().enable_graph_collection()
    total(tf.ones([4096, 4096]))  # 64 MiB each
    graphs = context.context().export_run_metadata().function_graphs
    print(sum(node.op == "TemporaryVariable" for each in graphs for node in each.post_optimization_graph.node))
    """
)


@pytest.mark.parametrize("ordered, expected", [(True, "0"), (False, "1")])
def test_large_sums_are_not_made_in_the_order_of_arrival(ordered, expected):
    script = SCRIPT.format(ordered=ordered)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == expected
