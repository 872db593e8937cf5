"""Train a network: python scripts/train.py --flagfile=flags/digits_ig_sum_norm.cfg --model_dir=runs/digits

A flag that is not given is the method's, network's or data set's own. The model directory gets checkpoints, tables and
TensorBoard events while it trains, and model.keras and saved_model/ at the end. The same command goes on with a run
that was stopped, by SIGTERM or Ctrl-C with a checkpoint; --overwrite begins anew.
"""

import sys

from rar_tf import checks, files
from rar_tf.data.settings import DataSettings
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.experiment import flagfile
from rar_tf.experiment.settings import Experiment, RunSettings
from rar_tf.models.settings import NetworkSettings
from rar_tf.objectives import METHODS
from rar_tf.objectives.settings import RECORDS as METHOD_SETTINGS

READS = {
    "the run": (RunSettings,),
    "data": (DataSettings,),
    "network": (NetworkSettings,),
    "methods (each reads some of these)": METHOD_SETTINGS,
    "evaluation during training": (EvaluationSettings,),
}


def check(given):
    checks.one_of(METHODS, method=RunSettings.of(given).method)
    files.require(model_dir(given), "train", option="--model_dir")
    for record in (DataSettings, NetworkSettings, EvaluationSettings):
        record.of(given)
    return EvaluationSettings.odd(given)


def reads(given):
    return [type(record) for record in Experiment.of(given).records]


def model_dir(given):
    """The directory of the run: by default named for data set and method."""
    default = f"runs/{DataSettings.of(given).dataset}_{RunSettings.of(given).method}"
    return given.get("model_dir") or default


def main():
    from rar_tf.experiment import run

    given = flagfile.given()
    given["model_dir"] = model_dir(given)
    terminal, steps = sys.stdout.isatty(), RunSettings.of(given).steps
    found = run.train(
        given,
        verbose=1 if terminal else 0,
        report=None if terminal else lambda row: print(_line(row, steps), flush=True),
    )
    if found.finished and found.writes and not found.written:
        print(f"{found.folder} is finished: nothing was written (--overwrite trains anew, more --steps go on)")
    elif found.finished and found.writes:
        made = "model.keras, saved_model/, train.json, history.csv, monitor.csv, tensorboard/ and checkpoints/"
        print(f"wrote {made} to {found.folder}")
    elif found.writes:
        print(f"wrote a checkpoint to {found.folder}/checkpoints: the same command goes on from it")


def _line(row, steps):
    values = "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in row.items() if name != "step")
    return f"step {row['step']} of {steps}  {values}"
