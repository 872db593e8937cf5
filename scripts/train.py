"""Train a network: python scripts/train.py --flagfile=flags/digits_ig_sum_norm.cfg --model_dir=runs/digits"""

import shlex
import sys

from rar_tf import cli

cli.define_flags()


def main():
    from rar_tf.experiment import run as experiment

    settings = cli.settings()
    if settings.model_dir is None:
        settings = settings.replace(model_dir=f"runs/{settings.dataset}_{settings.method}")
    experiment.train(settings, command=shlex.join(sys.argv), read_settings=cli.read_settings, verbose=1)


if __name__ == "__main__":
    cli.run(main)
