"""The job scripts and the cluster, with the environment and the commands that Slurm would give them."""

import os
import pathlib
import stat

import numpy as np
import pytest
import tensorflow as tf

from rar_tf.errors import UsageError
from rar_tf.experiment import distribution, slurm
from rar_tf.experiment.checkpoints import Checkpoints

from conftest import ROOT
from make_images import make
from runner import finished, python, succeeded

SCRIPTS = ROOT / "scripts" / "slurm"
# What srun does: so many tasks at once, each with its number; the highest exit status is the step's own.
SRUN = """#!/usr/bin/env python3
import os, subprocess, sys
command = sys.argv[1:]
while command[0].startswith("--"):
    command.pop(0)
tasks = int(os.environ.get("TASKS", "1"))
step = {"SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_TASKS_PER_NODE": str(tasks), "SLURM_STEP_NUM_TASKS": str(tasks)}
started = [
    subprocess.Popen(command, env={**os.environ, **step, "SLURM_PROCID": str(i), "SLURM_LOCALID": str(i),
                                   "SLURM_NODEID": "0"})
    for i in range(tasks)
]
sys.exit(max(process.wait() % 256 for process in started))
"""


@pytest.fixture
def commands(tmp_path):
    """A folder of commands that stand in for Slurm's, first on the path."""

    def command(name, text):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    command("srun", SRUN)
    command("scontrol", f'#!/bin/sh\necho "scontrol $@" >> {tmp_path}/scontrol.log\n')
    return command


def job(script, *arguments, **environment):
    bins = pathlib.Path(environment.pop("folder")) / "bin"
    path = f"{bins}{os.pathsep}{os.environ['PATH']}"
    line = ["bash", str(SCRIPTS / script), *map(str, arguments)]
    return finished(line, cwd=ROOT, timeout=400, PATH=path, TF_CONFIG=None, SLURM_JOB_ID="4711", **environment)


def step(**changes):
    """The variables of the third of four tasks on three nodes."""
    variables = {
        "SLURM_PROCID": "2",
        "SLURM_STEP_NODELIST": "node[8-10]",
        "SLURM_STEP_TASKS_PER_NODE": "1,2,1",
        "SLURM_NODEID": "1",
        "SLURM_LOCALID": "1",
        "SLURM_JOB_ID": "16005",
    }
    return {**variables, **changes}


def test_a_cluster_from_slurms_environment():
    found = slurm.cluster(step())
    assert found.cluster_spec().as_dict() == {"worker": ["node8:12005", "node9:12005", "node9:12006", "node10:12005"]}
    assert (found.task_type, found.task_id) == ("worker", 2)
    assert slurm.is_step(step()) and not slurm.is_step({"SLURM_JOB_ID": "1", "SLURM_PROCID": "0"})


def test_it_is_tensorflows_where_that_one_works(monkeypatch):
    environment = step(SLURM_STEP_NODELIST="node[08-09,11]", SLURM_STEP_TASKS_PER_NODE="2(x3)", SLURM_NODEID="1")
    environment = {**environment, "SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "6"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    theirs = tf.distribute.cluster_resolver.SlurmClusterResolver(
        port_base=12005, gpus_per_node=2, gpus_per_task=1, auto_set_gpu=False
    )
    ours = slurm.cluster()
    assert ours.cluster_spec().as_dict() == theirs.cluster_spec().as_dict()
    assert (ours.task_type, ours.task_id) == theirs.get_task_info()


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"SLURM_PROCID": "4"}, "names no cluster: task 4 of 1,2,1 tasks a node on node"),
        ({"SLURM_STEP_TASKS_PER_NODE": "1"}, "names no cluster"),
        ({"SLURM_STEP_NODELIST": "node[8-"}, "names no cluster"),
        ({"SLURM_NODEID": "2", "SLURM_LOCALID": "0"}, "--distribution=block"),
    ],
)
def test_environments_that_make_no_sense(changes, match):
    with pytest.raises(UsageError, match=match):
        slurm.cluster(step(**changes))


def test_parts_of_a_job_array(commands, tmp_path):
    array = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "4", "PYTHON": "echo"}
    for command in ("evaluate", "certify", "reproduce"):
        done = job("array.sbatch", command, "--output_dir=out", folder=tmp_path, **array)
        assert done.stdout == f"scripts/{command}.py --shard=2/4 --output_dir=out\n" and done.returncode == 0
        assert (ROOT / "scripts" / f"{command}.py").is_file()


def test_workers_are_started_again_after_one_was_lost(commands, tmp_path):
    fake = f'#!/bin/sh\necho "$@" >> {tmp_path}/log\n[ $(wc -l < {tmp_path}/log) -ge $NEEDED ] || exit $STATUS\n'
    worker = commands("python", fake + f"touch {tmp_path}/train.json\n")
    settings = {"folder": tmp_path, "PYTHON": str(worker)}

    def attempts(needed, status, *arguments, **more):
        for name in ("log", "train.json", "scontrol.log"):
            (tmp_path / name).unlink(missing_ok=True)
        done = job("train.sbatch", *arguments, NEEDED=str(needed), STATUS=str(status), **{**settings, **more})
        lines = (tmp_path / "log").read_text().splitlines() if (tmp_path / "log").exists() else []
        return done.returncode, lines

    flags = f"--model_dir={tmp_path}", "--steps=9"
    called = f"scripts/train.py --strategy=multi_worker {' '.join(flags)}"
    assert attempts(3, 75, *flags) == (0, [called] * 3) and not (tmp_path / "scontrol.log").exists()
    assert attempts(9, 137, *flags, ATTEMPTS="4") == (137, [called] * 4)
    assert attempts(9, 2, *flags) == (2, [called])  # a mistake is none the less one the second time
    assert attempts(1, 0)[0] == 2  # no --model_dir
    # Stopped with a checkpoint before the time was up: nothing is finished, and the job is queued again.
    assert attempts(9, 0, *flags)[0] == 0 and (tmp_path / "scontrol.log").read_text() == "scontrol requeue 4711\n"


def test_a_lost_worker_is_no_mistake():
    assert distribution.WorkerLost.exit_status == 75 and UsageError.exit_status == 2


@pytest.mark.slow
def test_tasks_that_read_a_folder_train_as_one_process_does(commands, tmp_path):
    generator = np.random.default_rng(0)
    make(generator.integers(0, 256, (60, 20, 20, 3), np.uint8), np.arange(60) % 3, tmp_path / "images", 60, size=28)
    flags = (
        f"--dataset={tmp_path / 'images'} --in_memory=0 --pixel_range=0,1 --model=tiny_cnn --method=madry "
        "--epsilon=0.02 --attack_steps=1 --batch_size=8 --steps=12 --checkpoint_every=6 --eval_examples=1 "
        "--ifia_steps=1 --ifia_ig_steps=1 --eval_pgd_steps=1 --optimizer=sgd --learning_rate=0.01"
    ).split()
    succeeded(python(ROOT / "scripts" / "train.py", *flags, f"--model_dir={tmp_path / '1'}"), timeout=400)

    def weights(folder, step):
        with np.load(Checkpoints(folder / "checkpoints", []).path(step)) as file:
            return np.concatenate([file[name].ravel() for name in file.files[:8]])

    one = weights(tmp_path / "1", 12)
    change = np.linalg.norm(one - weights(tmp_path / "1", 6))
    for tasks in ("2", "4"):
        settings = {"TASKS": tasks, "PYTHON": python()[0], "CUDA_VISIBLE_DEVICES": ""}
        done = job("train.sbatch", *flags, f"--model_dir={tmp_path / tasks}", folder=tmp_path, **settings)
        assert done.returncode == 0 and (tmp_path / tasks / "train.json").is_file(), done.stderr[-3000:]
        # Signs of the adversary may flip within rounding.
        assert np.linalg.norm(one - weights(tmp_path / tasks, 12)) < 1e-2 * change
