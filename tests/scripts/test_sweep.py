"""One command that trains, evaluates and tabulates; and the benchmark's."""

import json

import pytest

import runner
from conftest import ROOT

QUICK = [
    "--flagfile=flags/digits_natural.cfg",
    "--steps=60",
    "--eval_examples=2",
    "--ifia_steps=2",
    "--ifia_ig_steps=4",
    "--eval_pgd_steps=2",
    "--num_examples=10",
]


def script(name, *arguments):
    return runner.script(name, *arguments, timeout=600, cwd=ROOT)


@pytest.mark.parametrize(
    "name,arguments,message",
    [
        ("sweep", ["--output_dir=out"], "give --over=NAME"),
        ("sweep", ["--over=stepss=1,2", "--output_dir=out"], "--over"),
        ("sweep", ["--over=steps=1,2"], "give --output_dir"),
        ("benchmark", ["--over=stepss=1"], "--over"),
        ("benchmark", ["--compare=absent.json,absent.json"], "not a benchmark.json"),
    ],
)
def test_bad_usage(name, arguments, message):
    done = script(name, *arguments)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_sweep_has_a_row_a_value(tmp_path):
    done = script("sweep", *QUICK, "--over=batch_size=20,40", f"--output_dir={tmp_path}")
    assert done.returncode == 0, done.stderr[-2000:]
    table = (tmp_path / "table.md").read_text()
    assert table in done.stdout and [line.split()[1] for line in table.splitlines()[2:]] == ["20", "40"]
    for value in ("20", "40"):
        summary = json.loads((tmp_path / value / "evaluation" / "summary.json").read_text())
        assert f"{summary['natural_accuracy']:.1%}" in table


@pytest.mark.slow
def test_a_benchmark_measures_and_compares(tmp_path):
    done = script(
        "benchmark",
        "--flagfile=flags/digits_ig_sum_norm.cfg",
        "--batch_size=4",
        "--repeats=1",
        f"--output_dir={tmp_path}",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (row,) = json.loads((tmp_path / "benchmark.json").read_text())
    assert row["label"] == "ig_sum_norm" and row["step_seconds"] > 0 and 0 < row["attack_gradient_share"] < 2
    again = script("benchmark", f"--compare={tmp_path / 'benchmark.json'},{tmp_path / 'benchmark.json'}")
    assert again.returncode == 0 and "1.000" in again.stdout
