"""Every snippet of README and docs/ works: Python is run, commands have scripts, flags and flag files that exist."""

import json
import re
import shlex

import matplotlib
import numpy as np
import pytest

import rar_tf
from rar_tf.cli import COMMANDS
from rar_tf.experiment import flagfile

import toys
from conftest import ROOT

matplotlib.use("Agg")

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
# How many Python blocks of each page are run: here, in test_docs_*.py and in data/test_datasets.py.
RUN = {
    "README.md": 1,
    "alignment.md": 1,
    "certification.md": 1,
    "data.md": 3,
    "evaluation.md": 2,
    "explanation.md": 6,
    "extending.md": 2,
    "methods.md": 2,
    "neighbours.md": 3,
    "own_method.md": 3,
    "own_network.md": 4,
}
FEW = {"steps": 3, "k": 10, "metric_k": 8, "ig_steps": 4, "pgd_steps": 2}


def python_blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.S)


def fenced(page):
    """The lines of a page's other code blocks, continued ones joined, and the commands in its text."""
    text = page.read_text()
    blocks = re.findall(r"```(?:bash|sh)?\n(.*?)```", text, re.S) + re.findall(
        r"^    (?:python|rar_tf) .*$", text, re.M
    )
    inline = [" ".join(said.split()) for said in re.findall(r"`((?:python scripts/|rar_tf )[^`]+)`", text)]
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()] + inline


def run(page, names):
    for number, code in enumerate(python_blocks(page)):
        exec(compile(code, f"{page.name}, block {number}", "exec"), names)
    return names


def test_every_python_block_is_run_by_some_test():
    assert {page.name: len(python_blocks(page)) for page in PAGES if python_blocks(page)} == RUN


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_have_scripts_flags_and_flag_files(page):
    settings = flagfile.all_items()
    for line in fenced(page):
        found = re.search(r"scripts/(\w+)\.py|(?:^|/)rar_tf (\w+)", line)
        if not found:
            continue
        name = found.group(1) or found.group(2)
        assert name in COMMANDS and (ROOT / "scripts" / f"{name}.py").is_file(), line
        source = (ROOT / "rar_tf" / "commands" / f"{name}.py").read_text()
        for word in shlex.split(line.split("#")[0]):
            flag, _, value = word.removeprefix("--").partition("=")
            if not word.startswith("--") or flag in ("help", "flagfile"):
                known = True
            else:
                bare = flag.removeprefix("no")
                known = flag in settings or bare in settings or re.search(rf'"{flag}"', source)
            assert known, f"{page.name}: {word}"
            files = (
                [value] if flag == "flagfile" else value.partition("=")[2].split(",") if "flagfile=" in value else []
            )
            for file in files:
                assert file.endswith("flags.cfg") or (ROOT / file).is_file() or file in flagfile.shipped(), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_evaluation_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole, attack = rar_tf.evaluate, rar_tf.attack
    monkeypatch.setattr(rar_tf, "evaluate", lambda *args, **given: whole(*args, **{**FEW, **given}))
    monkeypatch.setattr(rar_tf, "attack", lambda *args, **given: attack(*args, **{**FEW, **given}))
    images, labels = toys.digits(4)
    names = run(ROOT / "docs" / "evaluation.md", {"network": toys.network(), "images": images, "labels": labels})
    assert names["maps"].shape == images.shape and names["curve"].epsilons == [0.05, 0.1, 0.2]
    assert (tmp_path / "maps.png").is_file() and (tmp_path / "evaluation" / "summary.json").is_file()


@pytest.mark.parametrize(
    "page, steps, made", [("methods.md", "steps=10", []), ("alignment.md", "steps=5", ["aligned.keras"])]
)
def test_a_method_in_three_lines(page, steps, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = python_blocks(ROOT / "docs" / page)[0]
    assert steps in code
    images, labels = toys.digits(20)
    names = {"rar_tf": rar_tf, "network": toys.network(), "images": images, "labels": labels}
    exec(compile(code.replace(steps, "steps=1"), page, "exec"), names)
    assert names["model"].optimizer.iterations.numpy() == 1 and [path.name for path in tmp_path.iterdir()] == made


def test_the_data_page_in_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "gtsrb").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for split, count in (("train", 86), ("valid", 43), ("test", 43)):
        pixels = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        np.savez(tmp_path / "data" / "gtsrb" / f"{split}.npz", images=pixels, labels=np.arange(count) % 43)
    names: dict = {}
    exec(compile(python_blocks(ROOT / "docs" / "data.md")[2], "data.md", "exec"), names)
    assert names["images"].shape == (8, 32, 32, 3) and names["images"].max() <= 255
    images, labels = next(iter(names["batches"]))
    assert images.shape == (64, 32, 32, 3) and labels.shape == (64,)


@pytest.mark.slow
def test_the_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = python_blocks(ROOT / "README.md")
    for long, short in (
        ("(64, 64, 3)", "(32, 32, 3)"),
        ("epochs=10", "epochs=1"),
        ("steps=7, ig_steps=20, attack_ig_steps=5", "steps=1, ig_steps=2, attack_ig_steps=1"),
        ("epsilon=8 / 255).summary", "epsilon=8 / 255, steps=1, ig_steps=2, pgd_steps=1).summary"),
        ("radius=2).summary", "radius=2, num_samples=20).summary"),
    ):
        assert long in code, long
        code = code.replace(long, short)
    generator = np.random.default_rng(0)
    images, labels = generator.random((40, 32, 32, 3)).astype(np.float32), generator.integers(0, 10, 40)
    names = {"images": images, "labels": labels, "test_images": images[:20], "test_labels": labels[:20]}
    exec(compile(code, "README.md", "exec"), names)
    assert (tmp_path / "robust.keras").is_file()
    assert names["table"]["natural_accuracy"] is not None and names["proof"]["num_examples"] == 20


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_tutorials(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run(page, {"__name__": "tutorial"})
    if page.stem == "own_network":
        assert names["scores"]["robust"]["kendall"] > names["scores"]["natural"]["kendall"]
    if page.stem == "explanation":
        assert names["ensemble"]["kendall"]["mean"] <= names["summary"]["kendall"]["mean"]


@pytest.mark.slow
def test_the_gallery(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "docs" / "gallery.ipynb").read_text())
    names: dict = {}
    for number, each in enumerate(cell for cell in notebook["cells"] if cell["cell_type"] == "code"):
        exec(compile("".join(each["source"]), f"gallery, cell {number}", "exec"), names)
    assert names["curve"].epsilons[-1] == 0.2
    assert all(np.isfinite(maps).all() and maps.any() for maps in names["rows"].values())
