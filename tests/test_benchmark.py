"""What a benchmark says of memory: that of the GPUs where there are, else the process's own."""

import types

import tensorflow as tf

from rar_tf import benchmark


def test_memory_is_that_of_the_fullest_gpu(monkeypatch):
    assert benchmark.peak_memory() > 0.05  # TensorFlow alone
    gpus = [types.SimpleNamespace(name=f"/job:worker/replica:0/task:0/device:GPU:{i}") for i in range(2)]
    peaks = {"GPU:0": {"peak": 2**30, "current": 0}, "GPU:1": {"peak": 3 * 2**30, "current": 0}}
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: gpus)
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", peaks.get)
    assert benchmark.peak_memory() == 3.0
