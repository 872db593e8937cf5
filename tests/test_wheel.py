"""The wheel is the whole package, with types, published tables and flag files, and works far from a checkout."""

import configparser
import json
import sys
import zipfile

import pytest

from conftest import ROOT
from runner import python, succeeded


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The wheel, built from this checkout and unpacked as an installation has it."""
    folder = tmp_path_factory.mktemp("wheel")
    succeeded(python("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, ROOT))
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_it_holds_every_file(unpacked):
    flags = {path.relative_to(ROOT) for path in (ROOT / "flags").rglob("*.cfg")}
    assert {path.relative_to(unpacked / "rar_tf") for path in unpacked.rglob("*.cfg")} == flags
    sources = {path.relative_to(ROOT) for path in (ROOT / "rar_tf").rglob("*.py*") if path.suffix != ".pyc"}
    assert {path.relative_to(unpacked) for path in (unpacked / "rar_tf").rglob("*.py*")} == sources
    assert (unpacked / "rar_tf" / "py.typed").is_file() and (unpacked / "rar_tf" / "published.json").is_file()
    networks = {path.name for path in (ROOT / "rar_tf" / "zoo").glob("*.*") if path.suffix in (".json", ".npz")}
    assert networks <= {path.name for path in (unpacked / "rar_tf" / "zoo").iterdir()}
    (metadata,) = unpacked.glob("*.dist-info/METADATA")
    text = metadata.read_text()
    for field in ("Author:", "Keywords:", "License", "Requires-Python: >=3.10", "Provides-Extra: pandas"):
        assert field in text


@pytest.mark.slow
def test_the_commands_work_in_an_empty_folder(unpacked, tmp_path):
    def rar_tf(command, *arguments):
        return succeeded(python("-m", "rar_tf", command, *arguments), cwd=tmp_path, PYTHONPATH=str(unpacked))

    where = succeeded(python("-c", "import rar_tf; print(rar_tf.__file__)"), cwd=tmp_path, PYTHONPATH=str(unpacked))
    assert where.startswith(str(unpacked))
    rar_tf("train", "--flagfile=digits_natural", "--model_dir=run", "--steps=60", "--eval_examples=4")
    rar_tf("evaluate", "--model_dir=run", "--num_examples=6", "--ifia_steps=3", "--eval_pgd_steps=2")
    rar_tf("certify", "--method=uniform_smoothing", "--model_dir=run", "--num_examples=2", "--num_samples=50")
    rar_tf("report", "--model_dirs=run", "--output_dir=report")
    assert json.loads((tmp_path / "run" / "evaluation" / "summary.json").read_text())["num_examples"] == 6
    assert (tmp_path / "report" / "report.html").is_file()


def test_versions_are_told_where_they_are_read():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    version = __import__("rar_tf").__version__
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text()
    classifiers = config["metadata"]["classifiers"]
    assert f"Python :: {sys.version_info[0]}.{sys.version_info[1]}" in classifiers
