"""Files are whole or absent, and what somebody else wrote is neither replaced nor removed."""

import errno
import os
import pathlib

import pytest

from rar_tf import checks, files
from rar_tf.errors import UsageError
from rar_tf.experiment.jobs import Source


@pytest.fixture
def folder(tmp_path):
    """A folder of `evaluate`, with a file of its own and one of somebody else's."""
    files.claim(tmp_path / "own", "evaluate")
    with files.atomic_write(tmp_path / "own" / "table.csv") as temporary:
        temporary.write_text("1")
    (tmp_path / "own" / "notes.txt").write_text("mine")
    return tmp_path / "own"


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if not path.name.startswith(".")}


def test_folders_that_a_command_may_write_into(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    for name in ("absent", "empty", "own"):
        files.require(tmp_path / name, "evaluate")
    (tmp_path / "file").touch()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "letter.txt").touch()
    for name, command, words in (
        ("file", "evaluate", "is a file, not a folder"),
        ("theirs", "evaluate", r"did not write \(letter.txt\)"),
        ("own", "certify", "is a folder of `rar_tf evaluate`"),
    ):
        with pytest.raises(UsageError, match=words):
            files.claim(tmp_path / name, command)
    assert not (tmp_path / "theirs" / files.LIST).exists()


def test_anew_removes_what_the_command_wrote_and_nothing_else(folder):
    files.claim(folder, "evaluate", overwrite=True)
    assert contents(folder) == {"notes.txt": "mine"}


def test_somebody_elses_file_is_not_replaced(folder):
    with pytest.raises(UsageError, match="notes.txt is there and was not written by this package"):
        with files.atomic_write(folder / "notes.txt") as temporary:
            temporary.write_text("2")
    assert contents(folder) == {"table.csv": "1", "notes.txt": "mine"}


def test_somebody_elses_folder_is_not_replaced(tmp_path):
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "letter.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds what this package did not write"):
        with files.atomic_write(tmp_path / "documents") as temporary:
            temporary.mkdir()
    assert contents(tmp_path / "documents") == {"letter.txt": "mine"}


def test_what_was_there_stays_where_writing_fails(folder):
    with pytest.raises(ValueError):
        with files.atomic_write(folder / "table.csv") as temporary:
            temporary.write_text("half of")
            raise ValueError
    assert contents(folder) == {"table.csv": "1", "notes.txt": "mine"}
    assert not list(folder.glob(".partial*"))


def test_two_processes_do_not_write_into_one_folder(folder):
    before = contents(folder)
    with files.writing(folder, "evaluate"):
        with pytest.raises(UsageError, match=f"{folder.name}: another process is writing into it"):
            with files.writing(folder, "evaluate", overwrite=True):
                raise AssertionError
    assert contents(folder) == before
    with files.writing(folder, "evaluate", overwrite=True):
        assert contents(folder) == {"notes.txt": "mine"}


def test_a_file_system_without_locks_is_written_to(folder, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    with files.writing(folder, "evaluate"):
        assert contents(folder)["table.csv"] == "1"


def test_paths(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert Source(model_dir="~/run").model_dir == "/home/somebody/run"
    assert Source(model_dir=pathlib.Path("run")).model_dir == "run"
    for value in ("", "  "):
        with pytest.raises(UsageError, match="model_dir is empty"):
            checks.path(model_dir=value)
