"""How the members of a prediction attack take turns."""

import numpy as np
import pytest

from rar_tf.attacks import PREDICTION_ATTACKS
from rar_tf.attacks.predictions import Member, Terms, standing_after

TERMS = Terms(epsilon=0.1, bounds=(0.0, 1.0), classes=10, steps=5, step_size=0.05, restarts=2)


def test_a_member_sees_only_the_images_that_still_stand():
    # Images 0 … 5. The first member's two runs break 0 and then 3, the second breaks 1, the third all that are left.
    breaks = {("a", 0): {0}, ("a", 1): {3}, ("b", 0): {1}, ("c", 0): {2, 4, 5}}
    seen = []

    def survives(member, which, seed, run):
        seen.append((member.name, int(run), which.tolist(), int(seed)))
        return np.array([i not in breaks[member.name, int(run)] for i in which])

    members = (Member("a", None, runs=lambda terms: terms.restarts), *(Member(name, None) for name in "bcd"))
    after = standing_after(members, TERMS, survives, count=6, seed=7)
    assert [call[:3] for call in seen] == [
        ("a", 0, [0, 1, 2, 3, 4, 5]),
        ("a", 1, [1, 2, 3, 4, 5]),
        ("b", 0, [1, 2, 4, 5]),
        ("c", 0, [2, 4, 5]),
    ]  # and the fourth member is never called
    assert len({call[3] for call in seen}) == 4 and seen[0][3] == 7
    assert {name: np.flatnonzero(standing).tolist() for name, standing in after.items()} == {
        "a": [1, 2, 4, 5],
        "b": [2, 4, 5],
        "c": [],
        "d": [],
    }


@pytest.mark.parametrize("name", PREDICTION_ATTACKS)
def test_every_prediction_attack_is_members_of_different_names(name):
    members = PREDICTION_ATTACKS[name]
    assert members and len({member.name for member in members}) == len(members)
    assert all(member.runs(TERMS) >= 1 and member.caution(TERMS) is None for member in members)
