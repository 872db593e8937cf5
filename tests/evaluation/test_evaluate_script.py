"""scripts/evaluate.py and scripts/report.py from the command line: kill -9, foreign networks, a user's mistakes."""

import json

import numpy as np
import pytest

from rar_tf.commands import certify
from rar_tf.commands import evaluate as evaluation
from rar_tf.errors import UsageError

import forks
import toys
from runner import assert_one_line, command, stop_when, succeeded


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """Own images (real 8×8 digits) and a network as a .keras file."""
    folder = tmp_path_factory.mktemp("scripts")
    images, labels = toys.digits(200)
    (folder / "digits8").mkdir()
    for name in ("train", "test"):
        np.savez(folder / "digits8" / f"{name}.npz", images=images, labels=labels)
    toys.network().save(folder / "network.keras")
    return folder


def evaluate(workplace, *arguments):
    return [
        "evaluate",
        f"--dataset={workplace / 'digits8'}",
        "--pixel_range=0,1",
        "--num_examples=20",
        "--eval_batch_size=2",
        "--eval_pgd_steps=2",
        "--ifia_steps=20",
        "--ifia_step_size=0.02",
        "--ifia_ig_steps=4",
        "--ifia_k=10",
        "--ifia_metric_k=8",
        *arguments,
    ]


@pytest.fixture(scope="module")
def evaluated(workplace):
    arguments = f"--keras_model={workplace / 'network.keras'}", f"--output_dir={workplace / 'whole'}"
    return workplace / "whole", forks.succeeded(*evaluate(workplace, *arguments))


def test_summary_and_table(evaluated):
    folder, output = evaluated
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["split"] == "test"
    assert summary["ifia_steps"] == 20 and summary["eval_pgd_steps"] == 2 and summary["num_examples"] == 20
    assert f"{summary['kendall']['mean']:.4f}" in output and "summary.json" in output


def test_a_run_knows_its_data_set(tmp_path):
    given = {"model_dir": str(tmp_path), "method": "uniform_smoothing"}
    (tmp_path / "model.keras").touch()
    for each in (certify, evaluation):
        (tmp_path / "flags.cfg").write_text("--dataset=digits\n--method=natural\n")  # the default
        each.check(given)
        (tmp_path / "flags.cfg").unlink()
        with pytest.raises(UsageError, match="give --dataset"):
            each.check(given)


@pytest.mark.slow
def test_processes_share_the_images(workplace, evaluated):
    keras_model = f"--keras_model={workplace / 'network.keras'}"
    arguments = keras_model, f"--output_dir={workplace / 'parts'}", "--processes=2"
    (workplace / "parts" / "shard-0-of-3").mkdir(parents=True)  # left by a run with another number of processes
    succeeded(command(*evaluate(workplace, *arguments)))
    whole, parts = (json.loads((workplace / name / "summary.json").read_text()) for name in ("whole", "parts"))
    assert parts["shard"] == "0/1, from 2 parts" and parts["num_attacked"] == whole["num_attacked"]
    np.testing.assert_allclose(parts["kendall"]["mean"], whole["kendall"]["mean"], atol=1e-3)
    assert_one_line(forks.script(*evaluate(workplace, *arguments, "--ifia_epsilon=0.2")), "other settings")


def test_processes_are_no_part_of_a_part(workplace):
    arguments = f"--keras_model={workplace / 'network.keras'}", f"--output_dir={workplace / 'part'}"
    refused = forks.script(*evaluate(workplace, *arguments, "--processes=2", "--shard=0/2"))
    assert_one_line(refused, "--processes")


@pytest.mark.slow
def test_kill_9_and_the_same_command_again(workplace, evaluated):
    keras_model, folder = f"--keras_model={workplace / 'network.keras'}", f"--output_dir={workplace / 'killed'}"
    line = command(*evaluate(workplace, keras_model, folder))
    csv = workplace / "killed" / "examples.csv"
    stop_when(lambda: csv.exists() and csv.stat().st_size > 0, line)
    assert 1 < len(csv.read_text().split("\n")) < 22, "it ended before it could be killed"
    assert not (csv.parent / "summary.json").exists()
    succeeded(line)
    assert csv.read_bytes() == (evaluated[0] / "examples.csv").read_bytes()


def test_directions_of_another_network(workplace, evaluated):
    model, other = f"--keras_model={workplace / 'network.keras'}", f"--transfer_from={workplace / 'network.keras'}"
    arguments = model, other, f"--output_dir={workplace / 'transferred'}", "--num_examples=4"
    assert forks.script(*evaluate(workplace, *arguments)).returncode == 0
    summary = json.loads((workplace / "transferred" / "summary.json").read_text())
    assert summary["surrogate_weights_digest"] == summary["weights_digest"]
    absent = evaluate(workplace, model, "--transfer_from=nowhere.keras", f"--output_dir={workplace / 'x'}")
    assert_one_line(forks.script(*absent), "nowhere.keras")


def test_report(workplace, evaluated):
    forks.succeeded("report", f"--model_dirs={evaluated[0]}", f"--output_dir={workplace / 'report'}")
    assert "data:image/png" in (workplace / "report" / "report.html").read_text()
    (workplace / "a,b").symlink_to(evaluated[0])  # as sweeps and tables name their folders
    both = f"--model_dirs={workplace / 'a,b'};{evaluated[0]}"
    forks.succeeded("report", both, f"--output_dir={workplace / 'report'}")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--ifia_steps=21", "--output_dir=whole"], "another model or other settings"),
        (["--ifia_k=65", "--output_dir=new"], "1 … 64"),
        (["--shard=0/100", "--output_dir=new"], "empty"),
        ([], "output_dir"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(workplace, evaluated, arguments, words):
    arguments = [a.replace("_dir=", f"_dir={workplace}/") for a in arguments]
    done = forks.script(*evaluate(workplace, f"--keras_model={workplace / 'network.keras'}", *arguments))
    assert_one_line(done, words)
    assert not (workplace / "new").exists()
