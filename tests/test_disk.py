"""Disks that are full or may not be written: one line that names the place, and what was good before is still there."""

import os
import shutil
import subprocess

import numpy as np
import pytest

import forks
import toys

pytestmark = pytest.mark.slow
MIB = 2**20
TRAIN = "train --model=tiny_cnn --steps=6 --batch_size=8 --eval_examples=2 --ifia_steps=1 --ifia_ig_steps=2 "
TRAIN += "--eval_pgd_steps=1 --log_every=2 --checkpoint_every=2 --epsilon=0.1"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disk")
    images, labels = toys.digits(60)
    (folder / "digits8").mkdir()
    for name in ("train", "test"):
        np.savez(folder / "digits8" / f"{name}.npz", images=images, labels=labels)
    toys.network().save(folder / "network.keras")
    for name, line in COMMANDS.items():
        if name != "train":
            continue
        done = forks.script(*line.format(w=folder, o=folder / "run").split())
        assert done.returncode == 0, done.stderr
    done = forks.script(*COMMANDS["evaluate"].format(w=folder, o=folder / "evaluated").split())
    assert done.returncode == 0, done.stderr
    return folder


DATA = "--keras_model={w}/network.keras --dataset={w}/digits8 --pixel_range=0,1"
EVALUATION = "--num_examples=6 --eval_batch_size=2 --ifia_steps=2 --ifia_ig_steps=2 --eval_pgd_steps=1 --ifia_k=8 "
EVALUATION += "--ifia_metric_k=8 --ifia_epsilon=0.1 --eval_pgd_epsilon=0.1"
COMMANDS = {
    "train": TRAIN + " --model_dir={o}",
    "evaluate": f"evaluate {DATA} {EVALUATION} --output_dir={{o}}",
    "certify": f"certify --method=center_smoothing {DATA} --num_examples=3 --num_samples=50 --certify_ig_steps=2 "
    "--output_dir={o}",
    "export": "export --keras_model={w}/network.keras --output_dir={o}",
    "report": "report --model_dirs={w}/evaluated --output_dir={o}",
    "sweep": f"sweep {DATA} {EVALUATION} --over=ifia_steps=1,2 --output_dir={{o}}",
    "prepare_data": "prepare_data --dataset={w}/digits8 --pixel_range=0,1 --output_dir={o}",
    "benchmark": "benchmark --model=tiny_cnn --batch_size=4 --repeats=1 --output_dir={o}",
}


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = shutil.which("mount") and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(place)], stderr=subprocess.DEVNULL
    )
    if not mounted:
        pytest.skip("a disk of 48 MiB cannot be mounted here: that needs root")
    yield place
    subprocess.check_call(["umount", str(place)])


def fill(disk, free):
    """Leave so many bytes."""
    (disk / "filler").unlink(missing_ok=True)
    left = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - free
    with open(disk / "filler", "wb") as file:
        while left > 0:
            left -= file.write(bytes(min(left, MIB)))


def run(command, workplace, folder):
    return forks.script(*COMMANDS[command].format(w=workplace, o=folder).split())


def assert_one_line(done, place):
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr[-4000:]
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and str(place) in errors[0], done.stderr[-4000:]
    return errors[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_disk_that_may_not_be_written(workplace, disk, command):
    subprocess.check_call(["mount", "-o", "remount,ro", str(disk)])
    assert "give a folder that you may write" in assert_one_line(run(command, workplace, disk / "out"), disk)
    assert list(disk.iterdir()) == []


@pytest.mark.parametrize("free", [0, 16384, 65536, 200_000])
@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "benchmark"])
def test_a_full_disk_and_the_same_command_again(workplace, disk, command, free):
    """With so little space that it ends at one moment or another; with space again it ends as it should."""
    fill(disk, free)
    done = run(command, workplace, disk / "out")
    if done.returncode != 0:  # little may be enough
        assert "free some space" in assert_one_line(done, disk)
    assert not [path for path in disk.rglob("*") if path.name.startswith((".partial", ".former"))]
    (disk / "filler").unlink()
    done = run(command, workplace, disk / "out")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("free", [0, 200_000, 800_000])
def test_a_disk_that_fills_while_a_network_trains(workplace, disk, free):
    assert run("train", workplace, disk / "out").returncode == 0
    before = {path: path.read_bytes() for path in (disk / "out" / "checkpoints").iterdir()}
    fill(disk, free)
    line = COMMANDS["train"].format(o=disk / "out").replace("--steps=6", "--steps=12")
    done = forks.script(*line.split())
    if done.returncode != 0:
        assert "free some space" in assert_one_line(done, disk)
        kept = {path: path.read_bytes() for path in (disk / "out" / "checkpoints").iterdir()}
        assert max(before) in kept and kept[max(before)] == before[max(before)]
    (disk / "filler").unlink()
    assert forks.script(*line.split()).returncode == 0
    assert (disk / "out" / "model.keras").exists()


@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_a_full_disk_leaves_what_was_there(workplace, disk, command):
    done = run(command, workplace, disk / "out")
    assert done.returncode == 0, done.stderr
    kept = "summary.json" if command == "evaluate" else "saved_model.pb"
    before = (disk / "out" / kept).read_bytes()
    fill(disk, 0)
    overwrite = [] if command == "evaluate" else ["--overwrite"]
    done = forks.script(*COMMANDS[command].format(w=workplace, o=disk / "out").split(), *overwrite)
    if overwrite:
        assert_one_line(done, disk)
    assert (disk / "out" / kept).read_bytes() == before
