"""Jobs as files: going on, repairing, parts and their merge, strict JSON."""

import csv
import json
import time

import numpy as np
import pytest
import tensorflow as tf

from rar_tf import provenance, results
from rar_tf.errors import UsageError

COUNT = 7


class Squares(results.Job):
    """Two rows per image; images in groups of three; counts what it has made in a file of its own."""

    columns, text = ["index", "which", "value", "name"], ("name",)
    command, mark = "evaluate", "by"
    record, count, per_image, files = {"power": 2, "limits": (0, float("inf"))}, COUNT, 2, ("made.npz",)

    def __init__(self, stop=None):
        self.made, self.stop, self.restored = [], stop, False

    def groups(self, part):
        return [slice(i, min(i + 3, part.stop)) for i in range(part.start, part.stop, 3)]

    def rows(self, group):
        if self.stop in range(group.start, group.stop):
            raise KeyboardInterrupt
        self.made += range(group.start, group.stop)
        return [
            {"index": i, "which": j, "name": "1.50", **({"value": i**2 / 3} if j else {})}
            for i in range(group.start, group.stop)
            for j in range(2)
        ]

    def restore(self, folder):
        self.restored = (folder / "made.npz").is_file()

    def keep(self, folder):
        (folder / "made.npz").write_text(str(self.made))

    def notes(self):
        return {"by": "hand"}

    @classmethod
    def finish(cls, folder, rows, record, notes):
        return {"sum": sum(row.get("value", 0) for row in rows), "by": notes["by"], "shard": record["shard"]}

    @classmethod
    def join(cls, folder, parts, summaries):
        return {"by": " and ".join(summary["by"] for summary in summaries)}


def text(folder):
    return (folder / "examples.csv").read_text()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job") / "whole"
    results.run(Squares(), folder)
    return folder


def test_files(whole):
    with open(whole / "examples.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * COUNT
    rows, complete = results.read_rows(whole / "examples.csv", text=("name",))
    assert complete and rows == Squares().rows(slice(0, COUNT)) == results.work(Squares())
    assert results.read_json(whole / "settings.json") == {"power": 2, "limits": [0, None], "shard": "0/1"}
    summary = results.read_json(whole / "summary.json")
    made = summary.pop("made")
    assert summary == {"sum": pytest.approx(91 / 3), "by": "hand", "shard": "0/1"}
    assert made["command"] == provenance.command() and made["versions"]["rar_tf"] and made["date"].endswith("+00:00")


def test_anew_only_what_was_its_own_is_removed(whole):
    (whole / "notes.txt").write_text("mine")
    before = contents(whole)
    again, anew = Squares(), Squares()
    results.run(again, whole)
    assert again.made == [] and contents(whole) == before
    results.run(anew, whole, overwrite=True)
    assert anew.made == list(range(COUNT)) and not anew.restored
    assert (whole / "notes.txt").read_text() == "mine"


def test_a_run_anew_that_is_stopped_leaves_no_earlier_summary(whole):
    with pytest.raises(KeyboardInterrupt):
        results.run(Squares(stop=5), whole, overwrite=True)
    assert not (whole / "summary.json").exists()
    with open(whole / "examples.csv", "a") as file:  # one that lies there all the same
        file.write("7,0,")
    (whole / "summary.json").write_text("{}")
    with pytest.raises(KeyboardInterrupt):
        results.run(Squares(stop=5), whole)
    assert not (whole / "summary.json").exists()


def test_a_stopped_run_goes_on(whole, tmp_path):
    seen = []
    with pytest.raises(KeyboardInterrupt):
        results.run(Squares(stop=5), tmp_path, progress=seen.append)
    assert seen == [3] and not (tmp_path / "summary.json").exists()
    job = Squares()
    results.run(job, tmp_path, progress=seen.append)
    assert seen == [3, 3, 3, 1] and job.made == [3, 4, 5, 6] and job.restored
    assert text(tmp_path) == text(whole)


def test_rows_of_several_machines_name_the_devices_of_all(tmp_path, monkeypatch):
    def device(name):
        monkeypatch.setattr(provenance, "device", lambda: name)

    device("NVIDIA X")
    with pytest.raises(KeyboardInterrupt):
        results.run(Squares(stop=5), tmp_path / "resumed")
    with pytest.raises(KeyboardInterrupt):
        results.run(Squares(stop=0), tmp_path / "begun anew")  # before its first row
    results.run(Squares(), tmp_path / "parts", shard="1/2")
    device("CPU")
    assert results.run(Squares(), tmp_path / "resumed")["made"]["device"] == "NVIDIA X, CPU"
    assert results.run(Squares(), tmp_path / "begun anew")["made"]["device"] == "CPU"
    assert results.run(Squares(), tmp_path / "parts", shard="0/2")["made"]["device"] == "CPU, NVIDIA X"
    device("a login node")
    assert results.merge(Squares, tmp_path / "parts")["made"]["device"] == "CPU, NVIDIA X"
    for name in ("resumed", "parts"):
        runs = results.read_json(tmp_path / name / "runs.json")["runs"]
        assert sorted(run["device"] for run in runs) == ["CPU", "NVIDIA X"]
        assert all(run["seconds"] >= 0 and run["versions"] and run["date"] for run in runs)
    table = results.Table(tmp_path / "resumed", {}, Squares.columns, anew=True)
    table.write(results.work(Squares()))  # by nobody who is known
    assert not (tmp_path / "resumed" / "runs.json").exists()
    (tmp_path / "parts" / "shard-1-of-2" / "runs.json").unlink()  # as of a part that an earlier version made
    assert results.merge(Squares, tmp_path / "parts")["made"]["device"] == "CPU, NVIDIA X"


@pytest.mark.parametrize("content", ['{"runs": ["a"]}', '{"runs": {"device": "CPU"}}'])
def test_runs_of_another_form(tmp_path, content):
    with pytest.raises(KeyboardInterrupt):
        results.run(Squares(stop=5), tmp_path)
    (tmp_path / "runs.json").write_text(content)
    with pytest.raises(UsageError, match="runs.json: not a file of this package"):
        results.run(Squares(), tmp_path)


def test_a_resumed_run_took_the_seconds_of_all_its_processes(tmp_path):
    class Slow(Squares):
        def rows(self, group):
            time.sleep(0.2)
            return super().rows(group)

        @classmethod
        def finish(cls, folder, rows, record, notes):
            return {"seconds": notes["seconds"]}

    with pytest.raises(KeyboardInterrupt):
        results.run(Slow(stop=5), tmp_path)
    assert results.run(Slow(), tmp_path)["seconds"] >= 0.6


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.77, 0.99])
def test_a_torn_end_is_made_again(whole, tmp_path, kept):
    (tmp_path / "settings.json").write_bytes((whole / "settings.json").read_bytes())
    (tmp_path / "made.npz").write_text("of a run that was killed before its first row")
    (tmp_path / "examples.csv").write_text(text(whole)[: int(kept * len(text(whole)))])
    job = Squares()
    results.run(job, tmp_path)
    assert text(tmp_path) == text(whole)
    assert job.restored == bool(len(job.made) < COUNT)


def test_a_finished_run_is_not_made_again(whole):
    job = Squares()
    assert results.run(job, whole)["sum"] == pytest.approx(91 / 3) and job.made == []


def test_a_job_at_work_is_not_begun_a_second_time(tmp_path):
    class Twice(Squares):
        def rows(self, group):
            with pytest.raises(UsageError, match="another process is writing"):
                results.run(Squares(), tmp_path, overwrite=True)
            results.run(Squares(), tmp_path, shard="0/2")  # a part has a folder of its own
            return super().rows(group)

    job = Twice()
    results.run(job, tmp_path)
    assert job.made == list(range(COUNT)) and text(tmp_path).count("\n") == 1 + 2 * COUNT


def test_other_records_and_columns_are_refused(whole):
    class Cubes(Squares):
        record = {"power": 3}

    class Wider(Squares):
        columns = [*Squares.columns, "more"]

    with pytest.raises(UsageError, match="power was 2, now 3"):
        results.run(Cubes(), whole)
    with pytest.raises(UsageError, match="columns are other ones"):
        results.run(Wider(), whole)
    (whole / "settings.json").unlink()
    with pytest.raises(UsageError, match="without settings.json"):
        results.run(Squares(), whole)


def test_a_damaged_row_in_the_middle_is_an_error(whole):
    lines = text(whole).split("\n")
    (whole / "examples.csv").write_text("\n".join([*lines[:3], "1,2", *lines[4:]]))
    with pytest.raises(UsageError, match=":4: a row of 2"):
        results.run(Squares(), whole)


def test_the_part_that_ends_last_merges(whole, tmp_path):
    for shard in ("2/3", "0/3"):
        assert results.run(Squares(), tmp_path, shard=shard)["shard"] == shard
        assert results.finished_folder(tmp_path, shard).name == f"shard-{shard[0]}-of-3"
    with pytest.raises(UsageError, match="of 3 parts shard-1-of-3 is missing"):
        results.merge(Squares, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        results.run(Squares(stop=2), tmp_path, shard="1/3")
    with pytest.raises(UsageError, match="shard-1-of-3"):
        results.merge(Squares, tmp_path)
    summary = results.run(Squares(), tmp_path, shard="1/3")
    assert summary.pop("made")
    assert summary == {"sum": pytest.approx(91 / 3), "by": "hand and hand and hand", "shard": "0/1, from 3 parts"}
    assert results.finished_folder(tmp_path, "1/3") == tmp_path
    assert text(tmp_path) == text(whole)
    again = (results.merge(Squares, tmp_path), results.run(Squares(), tmp_path, shard="0/3"))
    assert all({**each, "made": 0} == {**summary, "made": 0} for each in again)


def test_parts_of_another_kind_are_refused(tmp_path):
    class Others(Squares):
        mark = "guarantee"

    for shard in ("0/2", "1/2"):
        results.run(Squares(), tmp_path, shard=shard)
    with pytest.raises(UsageError, match="shard-0-of-2 was not made by this command"):
        results.merge(Others, tmp_path)


def test_parts_of_two_divisions_are_not_mixed(whole, tmp_path):
    for shard in ("0/2", "1/3"):
        results.run(Squares(), tmp_path, shard=shard)
    with pytest.raises(UsageError, match="n = 2 and 3"):
        results.merge(Squares, tmp_path)
    results.run(Squares(), tmp_path, shard="1/2")
    assert text(tmp_path) == text(whole)


@pytest.mark.parametrize("shard", ["2/2", "-1/2", "a/b", "1"])
def test_shards_that_cannot_be(shard):
    with pytest.raises(UsageError, match="shard"):
        results.shard_slice(shard, 10)


def test_empty_shard():
    with pytest.raises(UsageError, match="empty"):
        results.shard_slice("0/20", 10)


def test_json_is_strict(tmp_path):
    values = {"a": float("nan"), "b": (np.float32(0.5), np.inf), "c": np.array([1, 2]), "d": {"e": None, "f": "x"}}
    results.write_json(tmp_path / "x.json", values)

    def refuse(name):
        raise AssertionError(name)

    found = json.loads((tmp_path / "x.json").read_text(), parse_constant=refuse)
    assert found == {"a": None, "b": [0.5, None], "c": [1, 2], "d": {"e": None, "f": "x"}}
    with pytest.raises(UsageError, match="absent.json: damaged, no JSON"):
        results.read_json(tmp_path / "absent.json")


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file, not a folder"):
        results.run(Squares(), tmp_path / "file")


def test_the_command_is_what_was_typed_without_interpreter_and_folders(monkeypatch):
    for typed, shown in (
        (["/usr/bin/python", "/home/me/scripts/train.py", "--steps=3"], "train.py --steps=3"),
        (["python", "-m", "rar_tf", "evaluate", "--output_dir=a b"], "rar_tf evaluate '--output_dir=a b'"),
    ):
        monkeypatch.setattr("sys.orig_argv", typed)
        assert provenance.command() == shown


def test_the_device_is_the_gpus_by_name_or_the_cpu(monkeypatch):
    assert provenance.device() == "CPU" or tf.config.list_physical_devices("GPU")
    names = {"a": {"device_name": "NVIDIA X"}, "b": {}}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: list(names))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", names.get)
    assert provenance.device() == "NVIDIA X, GPU"


def test_threads_are_those_that_tensorflow_was_told_or_all(monkeypatch):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    every = provenance.threads()
    for told, found in (("7", 7), ("many", every)):
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", told)
        assert provenance.threads() == found and every >= 1
