"""Wang and Kong (2022), Proposition 2: the fewer rectifiers change their state, the less the gradient moves."""

import numpy as np
import pytest

from rar_tf.evaluation import consistency


def test_the_expected_square_is_the_sum_over_the_units_that_change():
    rng = np.random.default_rng(0)
    weights, active = rng.standard_normal((20, 40)), rng.random(40) < 0.5
    perturbed = active ^ (np.arange(40) < 9)
    squares = consistency.gradient_change(weights, rng.normal(0, 2.0, (20000, 40)), active, perturbed) ** 2
    error = squares.std() / np.sqrt(len(squares))
    assert abs(squares.mean() - 4.0 * (weights[:, :9] ** 2).sum()) < 4 * error


@pytest.mark.parametrize("seed", range(5))
def test_fewer_units_with_no_larger_weights_give_the_smaller_expectation(seed):
    rng = np.random.default_rng(seed)
    weights, output = rng.standard_normal((20, 40)), rng.standard_normal((4000, 40))
    few, many = (np.arange(40) < count for count in (8, 20))
    means = [np.square(weights[:, units]).mean(axis=1) for units in (few, many)]
    weights[:, few] *= np.sqrt(np.min(means[1] / means[0]))  # now γ·w̄²_few < w̄²_many for every feature
    gamma = few.sum() / many.sum()
    means = [np.square(weights[:, units]).mean(axis=1) for units in (few, many)]
    assert (gamma * means[0] < means[1]).all()
    active = rng.random(40) < 0.5
    changes = [consistency.gradient_change(weights, output, active, active ^ units) for units in (few, many)]
    assert changes[0].mean() < changes[1].mean()


def test_the_simulation_falls():
    agreement, change = consistency.simulated(networks=100, units=200, features=40)
    thirds = [part.mean() for part in np.array_split(change[np.argsort(agreement)], 3)]
    assert thirds[0] > thirds[1] > thirds[2] > 0
