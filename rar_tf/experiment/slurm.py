"""The cluster that a job step of Slurm is: which worker runs where, from the environment of each of its tasks.

TensorFlow's own SlurmClusterResolver needs GPUs, and gives workers the addresses of others where host names are not in
alphabetical order (node2, node10); this one does neither.
"""

import os
from collections.abc import Mapping

import tensorflow as tf
from tensorflow.python.distribute.cluster_resolver import slurm_cluster_resolver as resolver

from rar_tf.errors import UsageError

VARIABLES = ("SLURM_PROCID", "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE")


def is_step(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether a process is a task of a job step, started by srun."""
    return all(name in environment for name in VARIABLES)


def cluster(environment: Mapping[str, str] = os.environ) -> tf.distribute.cluster_resolver.ClusterResolver:
    """Return the workers of a job step, in the order of its tasks, and which of them this process is.

    Ports are derived from the job's number, so that jobs that share nodes do not meet.

    Raises: UsageError for an environment that makes no sense, or tasks that are not numbered node by node.
    """
    rank, nodes, tasks = (environment[name] for name in VARIABLES)
    first = 12_000 + int(environment.get("SLURM_JOB_ID", 0)) % 16_000
    try:
        hosts, counts = resolver.expand_hostlist(nodes), resolver.expand_tasks_per_node(tasks)
        places = [(host, task) for host, count in zip(hosts, counts, strict=True) for task in range(count)]
        host, task = places[int(rank)]
    except (ValueError, IndexError) as error:
        raise UsageError(
            f"Slurm's environment names no cluster: task {rank} of {tasks} tasks a node on {nodes}"
        ) from error
    node = hosts.index(host)
    if int(environment.get("SLURM_NODEID", node)) != node or int(environment.get("SLURM_LOCALID", task)) != task:
        raise UsageError("tasks must be numbered node by node: start them with srun --distribution=block")
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": [f"{host}:{first + task}" for host, task in places]}),
        task_type="worker",
        task_id=int(rank),
        rpc_layer="grpc",
    )
