"""The flags of `rar_tf reproduce`: what contradicts is refused, and what it does not read is told."""

import json
import subprocess
import sys

import pytest

from rar_tf.reproduction import index

from runner import environment

CHECK = """
import json, sys
from absl.testing import flagsaver
from rar_tf import cli
from rar_tf.commands import reproduce
from rar_tf.errors import UsageError
from rar_tf.experiment import flagfile
for arguments in json.loads(sys.argv[1]):
    with flagsaver.flagsaver():
        cli._parse(arguments)
        try:
            reproduce.check({})
            own = [flag.name for flag in cli._own(reproduce)]
            print(json.dumps(flagfile.unread(cli._names(arguments), own, "reproduce", reproduce.reads({}))))
        except UsageError as error:
            print(json.dumps(str(error)))
assert "tensorflow" not in sys.modules
"""
ABSENT = next(table.key for table in index.TABLES.values() if table.absent)
REFUSED = [
    ("", "give --table=PAPER:NAME, --network=NAME or --list"),
    ("--table=chen2019:1 --network=mnist_madry", "give --table or --network, not both"),
    ("--list --table=chen2019:1", "give --list or --table, not both"),
    ("--table=chen2019:99", "not in the index"),
    (f"--table={ABSENT}", ABSENT),
    ("--table=chen2019:1 --rows=svhn", "no row with these names"),
    ("--table=chen2019:1 --shard=2/2", "i must be in 0 … n − 1"),
    ("--table=chen2019:1 --zoo_dir=zoo", "--zoo_dir keeps one network"),
    ("--table=wang2024:5 --examples=0", "--examples=0 leaves nothing"),
    ("--network=nonsense", "there is no flag file"),
    ("--network=mnist_madry,nonsense=1", "a network is NAME[,flag=value…]"),
    ("--network=mnist_madry,seed=1 --seeds=2", "leave seed out"),
    ("--network=mnist_madry --output_dir=", "output_dir is empty"),
    ("--network=mnist_madry --output_dir=theirs", "did not write (letter.txt)"),
    ("--network=mnist_madry --results_dir=theirs/tables/network_alone", "did not write (letter.txt)"),
    ("--network=mnist_madry --results_dir=docs/results", "reproduction.md is no page"),
    ("--results_dir=records/bad", "fast-mnist.json: no record"),
    ("--results_dir=records/none", "holds no records"),
]
UNREAD = [
    ("--table=chen2019:1 --rows=mnist --shard=0/2 --examples=5 --results_dir=records/none", []),
    ("--network=mnist_madry,epsilon=0.2 --recipe=fast --seeds=2 --auto_examples=3 --accuracy_examples=9", []),
    ("--network=mnist_madry --rows=mnist --shard=0/2", ["rows", "shard"]),
    ("--table=wang2024:5 --auto_examples=3 --accuracy_examples=9 --examples=1", ["auto_examples", "accuracy_examples"]),
    ("--list --recipe=fast", ["recipe"]),
]


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What each command line gets: the line that refuses it, or the sentences about flags that are not read."""
    place = tmp_path_factory.mktemp("flags")
    for name in ("theirs/tables/network_alone/letter.txt", "docs/reproduction.md"):
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text("mine")
    (place / "records" / "bad").mkdir(parents=True)
    (place / "records" / "bad" / "fast-mnist.json").write_text("{}")
    lines = [line.split() for line, _ in REFUSED + UNREAD]
    command = [sys.executable, "-c", CHECK, json.dumps(lines)]
    done = subprocess.run(command, cwd=place, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (place / "docs" / "reproduction.md").read_text() == "mine"
    return dict(zip((line for line, _ in REFUSED + UNREAD), map(json.loads, done.stdout.splitlines())))


@pytest.mark.parametrize("line, words", REFUSED, ids=[line for line, _ in REFUSED])
def test_refused(said, line, words):
    assert isinstance(said[line], str) and words in said[line]


@pytest.mark.parametrize("line, names", UNREAD, ids=[line for line, _ in UNREAD])
def test_not_read(said, line, names):
    assert said[line] == [f"reproduce does not read --{name} here" for name in names]
