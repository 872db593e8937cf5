"""A table from nothing to its page and records: what is missing is trained once, and the same command goes on."""

import importlib
import json
import sys

import pytest

from rar_tf import cli, provenance
from rar_tf.errors import UsageError
from rar_tf.experiment import flagfile
from rar_tf.experiment import run as experiment
from rar_tf.reproduction import index, pages, records, work
from rar_tf.reproduction.networks import Network

TINY = """--dataset=digits
--model=tiny_cnn
--initializer=glorot
--optimizer=adam
--learning_rate=2e-3
--batch_size=32
--steps=60
--log_every=10
--eval_examples=2
--epsilon=0.1
--attack_steps=1
--ig_steps=2
--attack_ig_steps=1
--ifia_steps=2
--ifia_ig_steps=2
--eval_pgd_steps=2
--evaluation_protocol=chen2019
"""
TABLE = index.Table(
    "none",
    "tiny",
    "two networks",
    (index.Row("digits_madry"), index.Row("digits_ig_norm")),
    "chen2019",
    picture="panel",
)
EXTENT = work.Extent(examples=6, auto_examples=0, accuracy_examples=40)


@pytest.fixture(scope="module")
def commands():
    """The commands' modules, without the flags that a process can have of one command alone."""
    names = [f"rar_tf.commands.{name}" for name in ("evaluate", "certify")]
    known = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flagfile, "define_flags", lambda: None)
        found = {name.rpartition(".")[2]: importlib.import_module(name) for name in names}
    for name in names:
        del sys.modules[name]
    sys.modules.update(known)
    return found


@pytest.fixture(scope="module")
def reproduced(commands, tmp_path_factory):
    """A table made in an empty folder, the commands that made it, and the page and records that it left."""
    place = tmp_path_factory.mktemp("reproduced")
    (place / "flags" / "fast" / "shared").mkdir(parents=True)
    (place / "flags" / "fast" / "digits_madry.cfg").write_text(TINY + "--method=madry\n")
    second = "--method=ig_norm\n--steps=5\n--init_from=runs/fast/digits_madry/model.keras\n"
    (place / "flags" / "fast" / "digits_ig_norm.cfg").write_text(TINY + second)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        calls: list[str] = []

        def call(command, *arguments):
            calls.append(command)
            given = flagfile.parse(list(arguments))
            patch.setattr(flagfile, "given", lambda: given)
            experiment.train(given) if command == "train" else commands[command].main()

        def make(table=TABLE):
            done = [
                (row, network, work.run(row, table, network, place / "runs", EXTENT, call))
                for row, network in work.lines(table, "fast")
            ]
            return pages.table(table, done, place / "runs", "fast", "0/1", place / "docs" / "results")

        page = make()
        first = list(calls)
        yield place, first, page, make, calls


def test_what_is_missing_is_trained_and_measured_once(reproduced):
    place, first, page, make, calls = reproduced
    assert first.count("train") == 2 and first.count("evaluate") == 4
    assert make() == page
    assert calls == first  # nothing again
    assert (place / "runs" / "tables" / "none_tiny" / "table.md").read_text() == page
    assert "digits_madry" in page and "6 / 40" in page


def test_a_table_of_certificates(reproduced):
    place, _, _, make, calls = reproduced
    (place / "flags" / "certify").mkdir(exist_ok=True)
    (place / "flags" / "certify" / "tiny.cfg").write_text("--method=uniform_smoothing\n--num_samples=20\n--radius=1\n")
    rows = index.certified("tiny", ["digits_madry"], epsilon="0.1", attribution="saliency")
    page = make(index.Table("none", "certified", "one network", rows))
    assert "digits_madry" in page and "largest_epsilon" in page
    assert calls.pop() == "certify"
    make(index.Table("none", "certified", "one network", rows))
    assert calls.count("certify") == 0
    kept = {each["network"]: each for each in records.read(place / "docs" / "results")}["digits_madry"]
    certification = kept["certifications"]["tiny,attribution=saliency,epsilon=0.1"]
    assert certification["num_examples"] == 6 and certification["results"][0]["radius"] == 1.0
    assert set(kept["evaluations"]) == {"accuracy", "chen2019"}  # of the same weights


def test_a_row_with_flags_of_its_own_is_kept_beside_the_others(reproduced):
    place, _, _, make, _ = reproduced
    rows = (index.Row("digits_madry", {"attribution": "saliency"}),)
    page = make(index.Table("none", "saliency", "one network", rows, "chen2019", measures=("maps",)))
    assert "digits_madry, attribution saliency" in page
    kept = {each["network"]: each for each in records.read(place / "docs" / "results")}["digits_madry"]["evaluations"]
    assert kept["chen2019,attribution=saliency"]["attribution"] == "saliency"
    assert kept["chen2019"]["attribution"] == "integrated_gradients"


def test_a_first_stage_that_is_missing_is_trained_before(reproduced):
    place, *_ = reproduced
    steps = work.training(Network.of("digits_ig_norm,seed=4", "fast"), place / "runs")
    assert [step.file.parent.name for step in steps] == ["digits_madry,seed=4", "digits_ig_norm,seed=4"]


def test_records_say_how_it_was_trained_and_every_score_with_its_interval(reproduced):
    place, *_ = reproduced
    found = {record["network"]: record for record in records.read(place / "docs" / "results")}
    record = found["digits_ig_norm"]
    assert record["first_stage"] == "digits_madry" and record["flags"]["method"] == "ig_norm"
    for name in ("minutes", "cpu_minutes"):
        total = found["digits_madry"]["cost"][name] + record["cost"][name]
        assert record["cost"][f"{name}_of_all_stages"] == pytest.approx(total, abs=0.02) and total > 0
    assert record["versions"]["tensorflow"]
    measured = json.loads((place / "runs/fast/digits_madry/accuracy,images=40/summary.json").read_text())
    assert measured["num_attacked"] == 0 and measured["warnings"] == []  # accuracies alone were asked for
    share = record["evaluations"]["accuracy"]["accuracies"]["adversarial_accuracy"]
    assert record["evaluations"]["accuracy"]["accuracy_examples"] == 40
    assert share["ci95"][0] <= share["share"] <= share["ci95"][1]
    kendall = record["evaluations"]["chen2019"]["scores"]["kendall"]
    assert kendall["ci95"][0] <= kendall["mean"] <= kendall["ci95"][1]
    assert record["evaluations"]["chen2019"]["examples"] == 6
    trained = json.loads((place / "runs/fast/digits_ig_norm/train.json").read_text())
    assert trained["command"] == provenance.command()
    assert trained["threads"] == record["threads"] == provenance.threads()
    assert {each["device"] for each in (trained, record, *record["evaluations"].values())} == {provenance.device()}
    text = json.dumps(found)
    assert str(place) not in text and "init_from" not in text  # nothing of this machine


def test_the_page_gives_a_command_that_makes_the_row_again(reproduced):
    place, *_ = reproduced
    results, reproduction = pages.write(place / "docs" / "results")
    text = results.read_text()
    command = "python scripts/reproduce.py --network=digits_ig_norm --recipe=fast --examples=6 --auto_examples=0"
    command = f"TF_NUM_INTRAOP_THREADS={provenance.threads()} {command}"
    assert f"{command} --accuracy_examples=40" in text
    assert (place / "docs" / "results" / "loss_digits.png").is_file()
    for key in index.TABLES:
        assert f"--table={key} " in reproduction.read_text() or index.TABLES[key].absent
    before = text
    assert pages.write(place / "docs" / "results")[0].read_text() == before


def test_a_record_keeps_what_was_measured_of_the_same_weights(reproduced, tmp_path):
    place, *_ = reproduced
    record = records.read(place / "docs" / "results")[0]
    measured = dict(record["evaluations"])
    path = records.write({**record, "evaluations": {"accuracy": measured["accuracy"]}}, tmp_path)
    records.write({**record, "evaluations": {"chen2019": measured["chen2019"]}}, tmp_path)
    assert set(json.loads(path.read_text())["evaluations"]) == {"accuracy", "chen2019"}
    other = {**record, "evaluations": {"auto": {**measured["chen2019"], "weights_digest": "other"}}}
    records.write(other, tmp_path)
    assert set(json.loads(path.read_text())["evaluations"]) == {"auto"}


def test_a_missing_flag_file_and_an_unknown_table_are_a_users_mistakes(reproduced):
    assert "reproduce" in cli.COMMANDS
    with pytest.raises(UsageError, match="there is no flag file"):
        work.training(Network.of("digits_nothing", "fast"), reproduced[0])
