"""One of several workers, or with TF_CONFIG unset the only one.

python tests/worker.py run MODEL_DIR STEPS       trains and prints a digest of the weights
python tests/worker.py one_step FILE             one step on given perturbed images; worker 0 writes the weights
"""

import hashlib
import os
import sys

import numpy as np
import tensorflow as tf

from rar_tf import errors
from rar_tf.data import pipeline
from rar_tf.experiment import distribution
from rar_tf.experiment import run as experiment
from rar_tf.experiment.settings import Experiment

SETTINGS = dict(
    dataset="digits",
    model="tiny_cnn",
    method="ig_sum_norm",
    batch_size=8,
    epsilon=0.1,
    attack_steps=1,
    ig_steps=2,
    attack_ig_steps=1,
    eval_examples=1,
    ifia_steps=1,
    ifia_ig_steps=1,
    eval_pgd_steps=1,
    checkpoint_every=5,
    log_every=5,
    model_dir="unused",
    strategy="multi_worker" if "TF_CONFIG" in os.environ else "one_device",
)


def run(model_dir, steps):
    trained = experiment.train({**SETTINGS, "model_dir": model_dir, "steps": int(steps)})
    digest = hashlib.sha256(b"".join(weight.tobytes() for weight in trained.network.get_weights())).hexdigest()
    print(f"digest {digest}", flush=True)


def one_step(path):
    built = experiment.build(Experiment.of({**SETTINGS, "optimizer": "sgd", "learning_rate": (0.01,)}))
    index = getattr(built.strategy.cluster_resolver, "task_id", 0) if SETTINGS["strategy"] == "multi_worker" else 0
    count = built.strategy.num_replicas_in_sync
    images, labels = next(iter(pipeline.batches(built.record, built.splits.train, 8, seed=0, shard=(index, count))))
    tf.function(lambda: built.strategy.run(built.model.minimise, args=(images, images + 0.05, labels)))()
    if distribution.is_chief(built.strategy):
        np.savez(path, *built.network.get_weights())
    distribution.wait_for_all(built.strategy)


if __name__ == "__main__":
    try:
        {"run": run, "one_step": one_step}[sys.argv[1]](*sys.argv[2:])
    except errors.UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
