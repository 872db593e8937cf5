"""docs/methods.md: it names every method, and its own-method example does what it says."""

import re
import sys
import types

import numpy as np
import pytest

import rar_tf
from rar_tf import objectives
from rar_tf.experiment import flagfile
from rar_tf.experiment import run as experiment
from rar_tf.experiment.settings import Experiment

import tiny_networks
from conftest import ROOT
from gradcheck import check_parameter_gradient

TEXT = (ROOT / "docs" / "methods.md").read_text()


@pytest.fixture
def own_method(monkeypatch):
    """The example of the documentation, literally, under its registry line."""
    code = next(block for block in re.findall(r"```python\n(.*?)```", TEXT, re.S) if "class GradientNorm" in block)
    name, place = re.search(r'^    "(\w+)": "(rar_tf\.objectives\.\w+:\w+)",$', TEXT, re.M).groups()
    assert len(code.splitlines()) + 1 < 45
    module = types.ModuleType(place.partition(":")[0])
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "docs/methods.md", "exec"), vars(module))
    monkeypatch.setitem(objectives.METHODS._places, name, place)
    return module.GradientNorm


def test_every_method_and_every_setting_of_one_is_documented():
    for name, method in objectives.METHODS.items():
        assert f"`{name}`" in TEXT and f"`{method.__name__}`" in TEXT
        assert getattr(rar_tf, method.__name__) is method
    for name in re.findall(r"`--(\w+)", TEXT):
        assert name in flagfile.all_items() or name == "flagfile"
    for method in objectives.METHODS.values():
        for term in method.terms:
            assert f"`{term}`" in TEXT


def test_the_flags_of_the_page_about_alignment_are_there():
    text = (ROOT / "docs" / "alignment.md").read_text()
    commands = set("over one_at_a_time model_dirs flagfile network recipe".split())
    commands |= {"examples", "auto_examples", "accuracy_examples"}
    assert set(re.findall(r"--(\w+)", text)) - set(flagfile.all_items()) <= commands
    for name in re.findall(r"`rar_tf\.(\w+)", text):
        assert hasattr(rar_tf, name)
    for name in re.findall(r"--flagfile=(\S+)", text):
        assert flagfile.read(ROOT / name)


def test_your_own_method_is_one_short_file_and_a_line(own_method, float64):
    images, perturbed, labels = tiny_networks.batch()
    check_parameter_gradient(
        "gradient_norm", {"attribution_weight": 0.3}, images, perturbed, labels, network=tiny_networks.convolutional()
    )


def test_your_own_method_takes_its_settings_from_the_flags_and_trains(own_method):
    settings = Experiment.of(
        {"method": "gradient_norm", "attribution_weight": 0.05, "epsilon": 0.1, "attack_steps": 3, "step_size": 0.05}
    )
    model = experiment.build_model(tiny_networks.convolutional("relu"), settings, (0.0, 1.0))
    assert type(model) is own_method and model.settings.attribution_weight == 0.05
    images, _, labels = (value.numpy() for value in tiny_networks.batch(40))
    model.compile("adam")
    history = model.fit(images, labels, batch_size=20, epochs=20, verbose=0).history
    assert set(own_method.terms) < set(history)
    assert history["loss"][-1] < history["loss"][0]
    assert np.isfinite(history["gradient"]).all()
