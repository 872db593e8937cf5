"""Several replicas equal one, in processes of their own: logical CPUs must exist before TensorFlow does anything."""

import json

import pytest

from rar_tf import objectives

from conftest import ROOT
from runner import python, succeeded


def replicas(*arguments):
    output = succeeded(python(ROOT / "tests" / "replicas.py", *arguments), timeout=900, CUDA_VISIBLE_DEVICES="")
    return json.loads(output.splitlines()[-1])


def test_one_step_on_two_replicas_equals_one():
    for name, gap in replicas("2", "one_step", "madry", "ig_sum_norm").items():
        assert gap < 1e-5, name


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ig_sum_norm", "madry"])
def test_twenty_steps_on_two_replicas_equal_one(method):
    # Sign steps of the adversary may flip within rounding, hence a bound on the weights' change and none on a weight.
    for name, gap in replicas("2", "fit", method).items():
        assert gap < 1e-3, name


@pytest.mark.slow
def test_one_step_of_every_method_on_four_replicas_equals_one():
    for name, gap in replicas("4", "one_step", *objectives.METHODS).items():
        assert gap < 1e-5, name


@pytest.mark.slow
def test_batches_that_two_replicas_cannot_share_are_refused_wherever_they_come_from():
    found = replicas("2", "uneven", "madry")
    assert found["gap"] < 1e-5 and len(found["said"]) == 6
    for name, words in found["said"].items():
        assert words.startswith("2 replicas share each batch in equal parts"), name
