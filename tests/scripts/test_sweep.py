"""One command that trains, evaluates and tabulates; and the benchmark's."""

import json
import pathlib

import numpy as np
import pytest

from rar_tf.errors import UsageError
from rar_tf.sweeps import plan, tables

import forks
import runner
import toys
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
        ("sweep", ["--over=steps=1,2", "--output_dir=out", "--shard=0/2"], "no --shard"),
        ("benchmark", ["--over=stepss=1"], "--over"),
        ("benchmark", ["--compare=absent.json,absent.json"], "not a benchmark.json"),
    ],
)
def test_bad_usage(name, arguments, message):
    done = forks.script(name, *arguments)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def planned(*overs, arguments=("--dataset=digits",), folder="out"):
    return plan.plan([plan.Axis.of(over) for over in overs], list(arguments), pathlib.Path(folder))


def places(rows):
    """Model directory and evaluation folder of each row, inside the sweep's."""
    return [(str(row.model_dir), str(row.folder)) for row in rows]


def test_folders_are_readable_and_do_not_collide():
    rows = planned("learning_rate=0.1,0.01,0.7")
    assert [str(row.folder) for row in rows] == [
        f"out/learning_rate={value}/evaluation" for value in ("0.1", "0.01", "0.7")
    ]
    assert planned("learning_rate=0.1,0.01;0.2")[0].folder.parent.name == "learning_rate=0.1+0.01"


def test_flag_files_go_by_their_stems_which_must_differ(tmp_path):
    for name in ("a.cfg", "b.cfg", "other/a.cfg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("--method=madry\n")
    rows = planned(f"flagfile={tmp_path}/a.cfg,{tmp_path}/b.cfg", "seed=1,2")
    assert [row.model_dir.name for row in rows] == ["a,seed=1", "a,seed=2", "b,seed=1", "b,seed=2"]
    assert rows[0].train[0] == f"--flagfile={tmp_path}/a.cfg"  # first, so that the command line wins
    with pytest.raises(UsageError, match="called a"):
        planned(f"flagfile={tmp_path}/a.cfg,{tmp_path}/other/a.cfg")


def test_what_only_evaluation_reads_trains_nothing_again():
    rows = planned("ifia_epsilon=0.05,0.1", "attack_steps=1,2", arguments=["--method=madry"])
    assert places(rows) == [
        (f"out/attack_steps={steps}", f"out/attack_steps={steps}/ifia_epsilon={epsilon}")
        for epsilon in ("0.05", "0.1")
        for steps in (1, 2)
    ]
    assert rows[0].train == rows[2].train and not any("ifia_epsilon" in argument for argument in rows[0].train)
    assert "--ifia_epsilon=0.05" in rows[0].evaluate and "--attack_steps=1" in rows[0].evaluate
    assert places(planned("num_examples=5,6"))[0] == ("out", "out/num_examples=5")


def test_a_finished_network_is_not_trained():
    rows = planned("ifia_epsilon=0.05,0.1", arguments=["--model_dir=runs/a"], folder="runs/a/sweep_ifia_epsilon")
    assert [row.train for row in rows] == [(), ()] and rows[0].model_dir is None
    assert rows[1].evaluate == (
        "--model_dir=runs/a",
        "--ifia_epsilon=0.1",
        "--output_dir=runs/a/sweep_ifia_epsilon/ifia_epsilon=0.1",
    )
    read = {"epsilon": "0.1,0.2", "constraint": "l2,linf"}  # the attack's budget and ball where it is given no other
    for name, values in read.items():
        assert len(planned(f"{name}={values}", arguments=["--model_dir=runs/a"])) == 2
    with pytest.raises(UsageError, match="batch_size.*not trained again"):
        planned("batch_size=1,2", arguments=["--model_dir=runs/a"])


@pytest.mark.parametrize(
    "over, words",
    [
        ("threshold=0.8,0.9", "nothing reads --over=threshold"),  # a certificate's
        ("beta=1,2", "nothing reads --over=beta"),  # TRADES', and this is natural training
        ("batch_size=1,x", "batch_size"),
        ("batch_size=1,1", "two values are called 1"),
        ("output_dir=a,b", "own output directory"),
    ],
)
def test_axes_that_cannot_be(over, words):
    with pytest.raises(UsageError, match=words):
        planned(over)


def test_a_method_without_the_setting_has_one_row():
    rows = planned("method=natural,igr_at", "attribution_weight=0.1,1")
    assert [row.model_dir.name for row in rows] == [
        "method=natural",
        "method=igr_at,attribution_weight=0.1",
        "method=igr_at,attribution_weight=1",
    ]


def test_what_no_row_reads_and_what_contradicts_is_known_once():
    axes = [plan.Axis.of("method=natural,trades")]
    read = plan.reads(axes, ["--epsilon=0.1"])
    assert {"epsilon", "beta", "ifia_steps", "model", "num_examples"} <= read and not {
        "radius",
        "attribution_weight",
    } & read
    rows = plan.plan(axes, ["--evaluation_protocol=chen2019", "--ifia_start=random"], pathlib.Path("out"))
    assert plan.odd(rows) == ["--ifia_start is not what --evaluation_protocol=chen2019 does: evaluated as ours"]


def test_changed_settings_are_named_before_anything_runs(tmp_path):
    (row,) = planned("seed=3", arguments=["--method=natural", "--ifia_steps=7"], folder=tmp_path)
    row.folder.mkdir(parents=True)
    (row.folder / "settings.json").write_text(json.dumps({"ifia_steps": 5, "seed": 3, "dataset": "digits"}))
    with pytest.raises(UsageError, match="ifia_steps was 5, now 7.*remove that folder"):
        plan.check_unchanged([row])
    (row.folder / "settings.json").write_text(json.dumps({"ifia_steps": 7, "prediction_attacks": ["pgd"]}))
    plan.check_unchanged([row])


def test_own_arguments():
    given = ["--over=a=1", "--over", "b=2", "--flagfile", "x.cfg", "--output_dir=o", "--model_dir", "runs/a"]
    kept = plan.own_arguments(given, without=("over", "output_dir"))
    assert kept == ["--flagfile=x.cfg", "--model_dir", "runs/a"]
    switches = ["--one_at_a_time", "--seed=1", "-noone_at_a_time", "--one_at_a_time=true", "one_at_a_time"]
    assert plan.own_arguments(switches, without=(), switches=("one_at_a_time",)) == ["--seed=1", "one_at_a_time"]


def summary(value, accuracy=0.5):
    score = {"mean": value, "median": value / 2, "std": 0.0, "ci95": [value - 0.01, value + 0.01]}
    scores = dict.fromkeys(tables.SCORES, score)
    return {"attack": "ifia", "evaluation_protocol": "ours", "natural_accuracy": accuracy, **scores}


def test_a_table_over_seeds_has_means_and_deviations():
    axes = [plan.Axis.of(over) for over in ("method=natural,madry", "seed=0,1,2")]
    rows = plan.plan(axes, [], pathlib.Path("out"))
    values = [0.1, 0.2, 0.3, 0.5, 0.5, 0.5]
    text = tables.table(axes, rows, [summary(value, accuracy=value) for value in values])
    over, each = text.split("Each seed.")
    natural, madry = over.strip().splitlines()[-2:]
    assert "natural" in natural and "20.0% ± 10.0%" in natural and "0.200 ± 0.100; median 0.100 ± 0.050" in natural
    assert "0.500 ± 0.000" in madry and "| 3 " in madry
    assert text.startswith("Attack: ifia (ours).")
    assert each.count("[0.490, 0.510]; median 0.250") == 3 * len(tables.SCORES)


def test_one_value_at_a_time_is_beside_the_settings_as_they_are():
    axes = [plan.Axis.of(over) for over in ("batch_size=20,40", "steps=7", "seed=0,1")]
    rows = plan.plan(axes, ["--dataset=digits"], pathlib.Path("out"), alone=True)
    assert [dict(row.labels) for row in rows[::2]] == [
        {"seed": "0"}, {"batch_size": "20", "seed": "0"}, {"batch_size": "40", "seed": "0"}, {"steps": "7", "seed": "0"}
    ]  # fmt: skip
    alone = plan.plan(axes[:2], ["--dataset=digits"], pathlib.Path("out"), alone=True)
    assert [row.model_dir.name for row in alone] == ["base", "batch_size=20", "batch_size=40", "steps=7"]


def test_differences_are_of_the_same_images_and_of_the_same_seed():
    axes = [plan.Axis.of(over) for over in ("steps=7,9", "seed=0,1")]
    rows = plan.plan(axes, ["--dataset=digits"], pathlib.Path("out"), alone=True)

    def images(**kendall):
        return [{"index": int(i[1:]), "correct": int(v is not None), "kendall": v} for i, v in kendall.items()]

    evaluated = [
        images(i0=0.1, i1=0.2, i2=0.9), images(i0=0.3, i1=None),
        images(i0=0.2, i1=0.6), images(i0=0.4, i1=0.1),
        images(i5=0.2), images(i6=0.2),
    ]  # fmt: skip
    steps, none = tables.differences(rows, evaluated).strip().splitlines()[-2:]
    cells = [cell.strip() for cell in steps.strip("|").split("|")]
    assert cells[:2] == ["steps=7", "2"] and "+0.250 [+0.100, +0.400]" in cells
    assert none.count("| - ") == len(tables.SCORES)


def test_rows_with_different_attacks_say_their_own():
    axes = [plan.Axis.of("attack=ifia,auto")]
    summaries = [{**summary(0.1), "attack": attack} for attack in ("ifia", "auto")]
    lines = tables.table(axes, plan.plan(axes, [], pathlib.Path("out")), summaries).splitlines()
    assert lines[0].split("|")[2].strip() == "attack" and "auto (ours)" in lines[3]


def test_curves_over_numbers():
    axes = [plan.Axis.of(over) for over in ("attack=ifia,auto", "ifia_epsilon=0.2,0.1")]
    rows = plan.plan(axes, [], pathlib.Path("out"))
    picture = tables.curves(axes, rows, [summary(value) for value in (0.1, 0.2, 0.3, 0.4)])
    panel = next(axis for axis in picture.axes if axis.get_title() == "Spearman")
    lines = [np.array(line.get_xydata()) for line in panel.lines]
    np.testing.assert_allclose(lines[0], [[0.1, 0.2], [0.2, 0.1]])  # means; the median after them
    np.testing.assert_allclose(lines[1], [[0.1, 0.1], [0.2, 0.05]])
    assert len(lines) == 4 and panel.get_xlabel() == "ifia_epsilon"
    assert tables.curves(axes[:1], rows[:1], [summary(0.1)]) is None


@pytest.mark.slow
def test_budgets_of_one_network_without_training(tmp_path):
    images, labels = toys.digits(200)
    (tmp_path / "digits8").mkdir()
    for name in ("train", "test"):
        np.savez(tmp_path / "digits8" / f"{name}.npz", images=images, labels=labels)
    toys.network().save(tmp_path / "network.keras")
    arguments = [
        f"--keras_model={tmp_path / 'network.keras'}",
        f"--dataset={tmp_path / 'digits8'}",
        "--pixel_range=0,1",
        "--num_examples=10",
        "--eval_pgd_steps=2",
        "--ifia_steps=2",
        "--ifia_ig_steps=4",
        "--ifia_k=10",
        "--ifia_metric_k=8",
        f"--output_dir={tmp_path / 'out'}",
    ]
    done = script("sweep", *arguments, "--over=ifia_epsilon=0.05,0.3")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "rar_tf train" not in done.stdout and (tmp_path / "out" / "curves.png").is_file()
    budgets = [
        json.loads((tmp_path / "out" / f"ifia_epsilon={value}" / "summary.json").read_text())["ifia_epsilon"]
        for value in (0.05, 0.3)
    ]
    assert budgets == [0.05, 0.3]
    again = script("sweep", *arguments, "--ifia_steps=3", "--over=ifia_epsilon=0.05,0.3")
    assert again.returncode == 2 and "ifia_steps was 2, now 3" in again.stderr and "rar_tf evaluate" not in again.stdout


@pytest.mark.slow
def test_a_sweep_has_a_row_a_value(tmp_path):
    done = script("sweep", *QUICK, "--over=batch_size=20,40", "--over=num_examples=8,10", f"--output_dir={tmp_path}")
    assert done.returncode == 0, done.stderr[-2000:]
    table = (tmp_path / "table.md").read_text()
    assert table in done.stdout and done.stdout.count("rar_tf train") == 2
    values = [line.replace("|", " ").split()[:2] for line in table.splitlines()[4:]]
    assert values == [["20", "8"], ["20", "10"], ["40", "8"], ["40", "10"]]
    for batch_size in ("20", "40"):
        found = tmp_path / f"batch_size={batch_size}" / "num_examples=10" / "summary.json"
        assert f"{json.loads(found.read_text())['natural_accuracy']:.1%}" in table


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


@pytest.mark.slow
def test_a_benchmark_names_the_default_method_and_takes_flags_in_two_words(tmp_path):
    quick = ("--model=tiny_cnn", "--batch_size=4", "--repeats=1", "--output_dir")
    for folder, more in (("one", ()), ("over", ("--over", "method=natural"))):
        done = forks.script("benchmark", *quick, tmp_path / folder, *more)
        assert done.returncode == 0, done.stderr[-2000:]
        (row,) = json.loads((tmp_path / folder / "benchmark.json").read_text())
        assert row["label"] == "natural" and "| natural |" in done.stdout
    names = [str(tmp_path / folder / "benchmark.json") for folder in ("one", "over")]
    done = forks.script("benchmark", f"--compare={','.join(names)}")
    assert done.returncode == 0 and "natural" in done.stdout
