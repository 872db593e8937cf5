"""Large sums keep their order, and products their digits.

The optimizer's pass that gives the order up is seen with its default, and gone without.
"""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

import rar_tf
from rar_tf import arithmetic
from rar_tf.certification.certificates.upper_bound import UpperBound
from rar_tf.evaluation.evaluator import Evaluator
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.models.precision import set_compute_dtype

from tiny_networks import convolutional

SCRIPT = textwrap.dedent(
    """
    import tensorflow as tf
    from tensorflow.python.eager import context
    from rar_tf import arithmetic

    if {ordered}:
        arithmetic.sum_in_order()

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


IMAGES = np.full([1, 4, 4, 1], 0.5, np.float32)
USES = {
    "training": lambda network: rar_tf.Natural(network),
    "evaluation": lambda network: Evaluator(network, EvaluationSettings()),
    "certificates": lambda network: UpperBound(network, UpperBound.Settings(image_shape=(4, 4, 1))),
    "explanations": lambda network: rar_tf.explain(network, IMAGES, attribution="saliency"),
}


@pytest.fixture
def tensor_float_32():
    """TensorFlow's own default, and that of this library, which is asked for once a process, not yet asked for."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    arithmetic.settle.cache_clear()
    tf.config.experimental.enable_tensor_float_32_execution(True)
    yield tf.config.experimental.tensor_float_32_execution_enabled
    tf.config.experimental.enable_tensor_float_32_execution(before)


@pytest.mark.parametrize("use", USES)
def test_products_have_all_digits_of_float32(use, tensor_float_32):
    network = convolutional(shape=(4, 4, 1))
    USES[use](network)
    assert not tensor_float_32()


def test_what_a_user_sets_afterwards_stays(tensor_float_32):
    arithmetic.settle()
    tf.config.experimental.enable_tensor_float_32_execution(True)
    rar_tf.explain(convolutional(shape=(4, 4, 1)), IMAGES, attribution="saliency")
    assert tensor_float_32()


def test_tensorfloat32_can_be_asked_for(tensor_float_32):
    network = convolutional(shape=(4, 4, 1))
    for dtype, allowed in (("tensorfloat32", True), ("bfloat16", False), ("tensorfloat32", True), ("float32", False)):
        set_compute_dtype(network, dtype)
        assert tensor_float_32() == allowed
