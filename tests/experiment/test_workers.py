"""Training over two worker processes on loopback: identical weights, exact resume, no hang where one is lost."""

import json
import signal
import socket

import numpy as np
import pytest

from rar_tf.errors import UsageError
from rar_tf.experiment import distribution
from rar_tf.experiment.checkpoints import Checkpoints
from rar_tf.experiment.settings import RunSettings

from conftest import ROOT
from runner import command, python, started, succeeded, wait_for

pytestmark = pytest.mark.slow
WORKER, STEPS = ROOT / "tests" / "worker.py", 20


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(*arguments):
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    workers = []
    for index in range(2):
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        workers.append(started(python(WORKER, *arguments), TF_CONFIG=config, CUDA_VISIBLE_DEVICES=""))
    return workers


def finish(workers):
    digests = []
    for worker in workers:
        output, errors = worker.communicate(timeout=400)
        assert worker.returncode == 0, errors[-3000:]
        digests += [line for line in output.splitlines() if line.startswith("digest")]
    return digests


def checkpoint(folder, step=STEPS):
    with np.load(Checkpoints(folder / "checkpoints", []).path(step)) as file:
        return [file[name] for name in file.files]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run over two workers that nothing interrupted."""
    folder = tmp_path_factory.mktemp("workers") / "run"
    return folder, finish(start("run", folder, STEPS))


def alone(*arguments):
    succeeded(python(WORKER, *arguments), timeout=400, TF_CONFIG=None)


def test_one_step_on_two_workers_equals_one_process(tmp_path):
    finish(start("one_step", tmp_path / "two.npz"))
    alone("one_step", tmp_path / "one.npz")
    with np.load(tmp_path / "one.npz") as one, np.load(tmp_path / "two.npz") as two:
        assert len(one.files) == 8
        for name in one.files:
            np.testing.assert_allclose(two[name], one[name], atol=1e-5)


def test_both_workers_end_with_the_same_weights_near_those_of_one_process(whole, tmp_path):
    folder, digests = whole
    assert len(digests) == 2 and digests[0] == digests[1]
    alone("run", tmp_path, STEPS)
    two, one, start_of = checkpoint(folder), checkpoint(tmp_path), checkpoint(tmp_path, 10)
    gap, change = (np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(one[:8], other[:8]))) for other in (two, start_of))
    assert gap < 1e-2 * change  # signs of the adversary and Adam's first steps may flip within rounding


def test_a_lost_worker_ends_the_other_with_a_line_and_both_resume_exactly(whole, tmp_path):
    workers = start("run", tmp_path, 100000)
    wait_for(lambda: list(tmp_path.glob("checkpoints/step_*.npz")), workers[0])
    workers[1].send_signal(signal.SIGKILL)
    _, errors = workers[0].communicate(timeout=180)
    assert workers[0].returncode == 75 and "error: a worker was lost" in errors
    reached = Checkpoints(tmp_path / "checkpoints", []).steps()
    if reached[-1] > STEPS:
        pytest.skip(f"the workers had reached step {reached[-1]} before one could be killed")
    digests = finish(start("run", tmp_path, STEPS))
    assert digests == whole[1]


ALONE = ("--strategy=multi_worker", "--model=tiny_cnn", "--batch_size=8", "--steps=2", "--epsilon=0.1")


def start_alone(tmp_path, *arguments):
    """The first of two workers, and its port; the other one never comes."""
    ports = free_ports(2)
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}})
    line = command("train", *ALONE, f"--model_dir={tmp_path / 'run'}", *arguments)
    return started(line, TF_CONFIG=config, CUDA_VISIBLE_DEVICES=""), ports[0]


def test_absent_peers_are_named_within_a_minute(tmp_path):
    assert RunSettings().worker_timeout < 60
    worker, _ = start_alone(tmp_path, "--worker_timeout=2")
    _, errors = worker.communicate(timeout=120)
    assert worker.returncode == 2 and "Traceback" not in errors
    assert "error: worker 1 (127.0.0.1:" in errors and "did not answer for 2 s" in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("sign, status", [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_worker_that_waits_for_others_obeys_signals(tmp_path, sign, status):
    worker, port = start_alone(tmp_path)

    def listens():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(listens, worker)
    worker.send_signal(sign)
    _, errors = worker.communicate(timeout=20)
    assert worker.returncode == status and "Traceback" not in errors


def test_without_a_cluster(monkeypatch, tmp_path):
    for value in (None, "{", '{"cluster": {}}'):
        monkeypatch.delenv("TF_CONFIG", raising=False)
        if value is not None:
            monkeypatch.setenv("TF_CONFIG", value)
        with pytest.raises(UsageError, match="needs a task of srun, or TF_CONFIG"):
            distribution.configure(RunSettings(strategy="multi_worker", model_dir=str(tmp_path)))
