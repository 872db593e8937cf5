"""The scripts as a user meets them: flags, flag files, errors of one line with exit status 2."""

import pathlib
import re

import numpy as np
import pytest

from rar_tf.cli import COMMANDS
from rar_tf.errors import UsageError
from rar_tf.experiment import flagfile
from rar_tf.experiment.settings import Experiment

import forks
from conftest import ROOT
from runner import assert_one_line, python, script, succeeded


class TestFlagFiles:
    def write(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    def test_every_setting_survives_the_way_through_a_flag_file(self, tmp_path):
        given = dict(
            dataset="mnist",
            method="ig_norm",
            learning_rate=(1e-3, 1e-2),
            learning_rate_boundaries=(5,),
            random_start=False,
            ig_chunk=4,
            epsilon=8.0,
            model_dir=str(tmp_path),
        )
        read = flagfile.read(self.write(tmp_path / "a.cfg", flagfile.to_flagfile(Experiment.of(given).flags())))
        assert read == Experiment.of(given).flags() and read.items() >= given.items()
        assert Experiment.of(read).flags() == read

    def test_nested_files_lie_beside_and_later_lines_win(self, tmp_path):
        self.write(tmp_path / "shared" / "base.cfg", "# a comment\n--steps=5\n--epsilon=2\n")
        path = self.write(tmp_path / "a.cfg", "--flagfile=shared/base.cfg\n\n--steps=7\n")
        assert flagfile.read(path) == {"steps": 7, "epsilon": 2.0}

    @pytest.mark.parametrize("name", ["digits_ig_sum_norm", "digits_ig_sum_norm.cfg", "flags/digits_ig_sum_norm.cfg"])
    def test_the_package_s_own_files_are_known_by_name_from_any_folder(self, tmp_path, monkeypatch, name):
        monkeypatch.chdir(tmp_path)
        assert flagfile.read(name)["method"] == "ig_sum_norm"
        self.write(tmp_path / name, "--method=madry\n")  # what lies there comes first
        assert flagfile.read(name) == {"method": "madry"}

    def test_every_file_that_is_shipped_is_known_by_its_name(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        names = flagfile.shipped()
        assert {"digits_natural", "shared/digits"} <= set(names)
        assert len(names) == len(list((ROOT / "flags").rglob("*.cfg")))
        assert all(isinstance(flagfile.read(name), dict) for name in names)

    def test_a_name_that_is_nearly_one_is_told(self):
        with pytest.raises(UsageError, match="the package has .*digits_ig_sum_norm"):
            flagfile.read("digit_ig_sum_norm")

    @pytest.mark.parametrize(
        "line,message",
        [
            ("steps=5", "not a flag"),
            ("--steps 5", "not a flag"),
            ("--steps=5 # more", "line of its own"),
            ("--stepss=5", "stepss"),
            ("--steps=five", "--steps=five: must be a whole number"),
            ("--epsilon=big", "--epsilon=big: must be a number"),
            ("--random_start=2", "--random_start=2: must be true or false"),
            ("--flagfile=absent.cfg", "absent.cfg"),
            ("--reduction=max", "max"),
            ("--lr = 3", "not a flag"),
        ],
    )
    def test_lines_that_are_no_flags(self, tmp_path, line, message):
        with pytest.raises(UsageError, match=message):
            flagfile.read(self.write(tmp_path / "a.cfg", line + "\n"))


class TestErrors:
    @pytest.mark.parametrize(
        "arguments,message",
        [
            (["--stepss=5"], "stepss"),
            (["steps"], "not a flag: steps"),
            (["--flagfile=absent.cfg"], "absent.cfg"),
            (["--method=igg"], "unknown method 'igg'"),
            (["--dataset=svhn"], "unknown data set 'svhn'"),
        ],
    )
    def test_usage(self, tmp_path, arguments, message):
        assert_one_line(forks.script("train", f"--model_dir={tmp_path / 'run'}", *arguments), message)
        assert not (tmp_path / "run").exists()

    def test_data_that_is_not_there(self, tmp_path):
        done = forks.script(
            "train",
            "--dataset=gtsrb",
            "--model=resnet_2",
            f"--data_dir={tmp_path}",
            f"--model_dir={tmp_path / 'run'}",
        )
        assert_one_line(done, "gtsrb")
        assert not (tmp_path / "run").exists()

    def test_a_model_directory_of_other_flags(self, tmp_path):
        flags = flagfile.to_flagfile(Experiment.of({"epsilon": 0.2}).flags())
        (tmp_path / "flags.cfg").write_text(flags)
        done = forks.script("train", f"--model_dir={tmp_path}", "--epsilon=0.3")
        assert_one_line(done, "belongs to other flags (--epsilon was 0.2, now 0.3; --step_size was 0.05, now 0.075)")
        assert pathlib.Path(tmp_path / "flags.cfg").read_text() == flags

    def test_a_line_alone_without_the_noise_of_tensorflow(self, tmp_path):
        (tmp_path / "flags.cfg").write_text(flagfile.to_flagfile(Experiment.of({}).flags()))
        (tmp_path / "model.keras").touch()
        options = f"--model_dir={tmp_path}", f"--output_dir={tmp_path}"
        done = script("evaluate", *options, TF_CPP_MIN_LOG_LEVEL=None)  # the run's flags are read with TensorFlow
        assert_one_line(done, "did not write")
        assert len(done.stderr.splitlines()) == 1, done.stderr

    def test_exporting_nothing(self, tmp_path):
        assert_one_line(forks.script("export", f"--output_dir={tmp_path / 'out'}"), "exactly one")


HELP = """
import sys
from rar_tf import cli
sys.argv = ["rar_tf", *sys.argv[1:]]
cli.main()
assert not {"tensorflow", "keras"} & set(sys.modules)
"""


def shown(text):
    return set(re.findall(r"^  --(?:\[no\])?(\w+)$", text, re.M))


def test_help_shows_a_commands_own_flags_without_tensorflow():
    texts = {name: succeeded(python("-c", HELP, name, flag)) for name, flag in zip(COMMANDS, ["-h", "--help"] * 4)}
    flags = {name: shown(text) for name, text in texts.items()}
    assert set(flagfile.all_items()) <= set.union(*flags.values())
    assert "attack_steps" in flags["train"] and not {"radius", "shard"} & flags["train"]
    assert {"radius", "shard", "method"} <= flags["certify"] and "attack_steps" not in flags["certify"]
    assert flags["export"] == {"flagfile", "model_dir", "keras_model", "output_dir", "overwrite"}
    assert "(default: 1000)" in texts["train"] and "the run:" in texts["train"]
    assert set(flagfile.all_items()) <= shown(succeeded(python("-c", HELP, "evaluate", "--helpfull")))


def test_version():
    assert succeeded(python("-c", HELP, "--version")) == succeeded(python("-c", HELP, "train", "--version"))


@pytest.mark.parametrize("module", ["rar_tf", "rar_tf.cli", "rar_tf.experiment.flagfile"])
def test_the_command_line_needs_no_tensorflow(module):
    succeeded(python("-c", f"import sys, {module}; assert not {{'tensorflow', 'keras'}} & set(sys.modules)"))


def test_damaged_data(tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    np.savez(folder / "test.npz", images=np.zeros([4, 28, 28, 1], np.uint8), labels=np.arange(4))
    np.savez(folder / "train.npz", images=np.zeros([4, 28, 28, 1], np.uint8), labels=np.arange(4))
    content = (folder / "train.npz").read_bytes()
    (folder / "train.npz").write_bytes(content[: len(content) // 2])
    done = forks.script("train", "--dataset=mnist", f"--data_dir={tmp_path}", f"--model_dir={tmp_path / 'run'}")
    assert_one_line(done, "train.npz")
    assert not (tmp_path / "run").exists()
