"""Train a network: python scripts/train.py --flagfile=flags/digits_ig_sum_norm.cfg --model_dir=runs/digits"""

import shlex
import sys

from rar_tf.experiment import flagfile

flagfile.define_flags()


def main():
    from rar_tf.data.settings import DataSettings
    from rar_tf.experiment import run
    from rar_tf.experiment.settings import RunSettings

    given = flagfile.given()
    if given.get("model_dir") is None:
        given["model_dir"] = f"runs/{DataSettings.of(given).dataset}_{RunSettings.of(given).method}"
    run.train(given, command=shlex.join(sys.argv), verbose=1)
