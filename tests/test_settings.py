"""Records of settings: one definition each, the same in constructors, flags and flag files."""

import dataclasses
import itertools
import shutil

import keras
import pytest

from rar_tf import checks, settings
from rar_tf.commands import evaluate, train
from rar_tf.data.settings import DataSettings
from rar_tf.errors import UsageError
from rar_tf.evaluation.settings import AttackSettings, EvaluationSettings
from rar_tf.experiment import flagfile
from rar_tf.experiment.jobs import JobSettings
from rar_tf.experiment.settings import Experiment, RunSettings
from rar_tf.objectives import METHODS
from rar_tf.settings import Record, items, setting

from conftest import ROOT

# What the specification says of each method's own settings; all else is every method's (`SHARED`).
SHARED = {
    "seed": 0,
    "epsilon": 0.3,
    "steps": 10,
    "step_size": 2.5 * 0.3 / 10,
    "epsilon_warmup": 0,
    "random_start": True,
    "constraint": "linf",
    "gamma": 1.0,
    "bounds": (0.0, 1.0),
    "reduction": "mean",
    "micro_batch": None,
    "curvature_penalty": 0.0,
    "weight_decay": 0.0,
}
PATH = {"attribution_weight": 1.0, "ig_steps": 50, "attack_ig_steps": 10, "ig_chunk": None}
RAR = {**PATH, "size": "l1", "layer": "input", "rule": "right"}
MATCHING = {**PATH, "ig_steps": 10, "attack_ig_steps": 5}
ALIGN = {
    **MATCHING,
    "aligned": "input_x_gradient",
    "aligned_protocol": "rar",
    "distance_weight": 0.0,
    "align_steps": 0,
    "align_warmup": 0,
    "curvature_weight": 0.0,
    "linearity_weight": 0.0,
}
OWN = {
    "natural": {},
    "madry": {},
    "ig_norm": RAR,
    "ig_sum_norm": RAR,
    "rar": RAR,
    "cacr_wacr": {
        **PATH,
        "variant": "paper",
        "cacr_weight": 1.0,
        "wacr_weight": 1.0,
        "attribution_scale": 1.0,
        "cacr_limit": 10.0,
        "cacr_contrast": True,
        "wacr_base": True,
        "delta_attribution": "path",
    },
    "trades": {"beta": 6.0, "clean_term": True},
    "mart": {"beta": 5.0},
    "igr_at": {**MATCHING, "adversary": "base"},
    "igr_trades": {**MATCHING, "adversary": "base", "beta": 6.0, "clean_term": True},
    "igr_mart": {**MATCHING, "adversary": "base", "beta": 5.0},
    "align_at": ALIGN,
    "align_trades": {**ALIGN, "beta": 6.0, "clean_term": True},
    "align_mart": {**ALIGN, "beta": 5.0},
    "art": {"attribution_weight": 0.5, "softplus_beta": 50.0},
    "aat": MATCHING,
    "advaat": MATCHING,
    "ssr": {"attribution_weight": 0.3},
    "input_gradient": {"attribution_weight": 1.0, "gradient_order": 2.0},
    "r2et": {"attribution_weight": 0.1, "curvature_weight": 0.1, "top_k": 100},
}


def network():
    return keras.Sequential(
        [keras.layers.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(4, "relu"), keras.layers.Dense(3)]
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_set_the_same_in_python_and_by_its_name_alone(name):
    expected = {**SHARED, **OWN[name]}
    assert vars(METHODS[name](network()).settings) == expected
    assert vars(Experiment.of({"method": name}).method.resolved()) == expected


def test_a_flag_is_one_setting():
    for first, second in itertools.combinations(flagfile.RECORDS, 2):
        for a, b in itertools.product(items(first), items(second)):
            if a.flag and a.flag == b.flag:
                assert dataclasses.replace(a, default=None) == dataclasses.replace(b, default=None), (a, b)


def test_every_setting_explains_itself():
    for name, item in flagfile.all_items().items():
        assert len(item.help) > 5, name
        item.checked(item.default)


def test_choices_checks_and_unknown_names():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Example(Record):
        size: float = setting(1.0, "a size", flag="the_size", check=checks.positive)
        kinds: tuple[str, ...] = setting(("a",), "kinds", choices=("a", "b"))
        radii: tuple[float, ...] = setting((1.0,), "radii")
        half: float | None = setting(None, "half of it", derive=lambda s: s.size / 2, otherwise="other")

    assert Example.of({"the_size": 3.0, "kinds": ["b", "a"]}).resolved() == Example(
        size=3.0, kinds=("b", "a"), half=1.5
    )
    assert Example.of({"other": 7.0}).half == 7.0 and Example.of({"other": 7.0, "half": 2.0}).half == 2.0
    assert Example(half=None).resolved().half == 0.5
    assert Example(kinds="b").kinds == ("b",) and Example(kinds=()).kinds == ()
    for values, message in (
        ({"size": -1.0}, r"size \(--the_size\) must be positive"),
        ({"size": float("nan")}, "must be finite"),
        ({"size": "1"}, "must be a number"),
        ({"radii": ()}, "at least one value"),
        ({"radii": None}, "radii needs a value, got None"),
        ({"size": None}, r"size \(--the_size\) needs a value, got None"),
        ({"kinds": ("a", "c")}, "unknown kinds 'c'; known: a, b"),
        ({"sizes": 1.0}, "unknown setting sizes; known: half, kinds, radii, size"),
    ):
        with pytest.raises(UsageError, match=message):
            Example.make(values)


def test_an_evaluation_attacks_with_the_training_budget_where_it_has_no_other():
    found = EvaluationSettings.of({"epsilon": 0.1}).resolved()
    assert (found.epsilon, found.pgd_epsilon, found.step_size) == (0.1, 0.1, 2.5 * 0.1 / 100)
    found = EvaluationSettings.of({"epsilon": 0.1, "ifia_epsilon": 0.2, "eval_pgd_epsilon": 0.05}).resolved()
    assert (found.epsilon, found.pgd_epsilon) == (0.2, 0.05)


PROTOCOL = {"evaluation_protocol": "chen2019", "epsilon": 0.1}


def test_a_protocol_fixes_the_same_for_flags_and_for_python(caplog):
    found = EvaluationSettings.make(PROTOCOL)
    assert found == EvaluationSettings.of(PROTOCOL).replace(pgd_epsilon=None)
    assert (found.start, found.measure, found.reference) == ("image", "kendall", True) and not caplog.records
    assert AttackSettings.make({**PROTOCOL, "evaluation_protocol": "wang2022"}).prediction_attacks == ()
    own = EvaluationSettings.make({**PROTOCOL, "start": "random", "restarts": 1})
    assert (own.evaluation_protocol, own.start, own.measure) == ("ours", "random", EvaluationSettings().measure)
    said = [record.getMessage() for record in caplog.records]
    assert said == ["--ifia_start is not what --evaluation_protocol=chen2019 does: evaluated as ours"]


@pytest.mark.parametrize("command", [evaluate, train])
def test_a_contradicted_protocol_is_told_once(tmp_path, caplog, command):
    given = {**PROTOCOL, "ifia_start": "random", "model_dir": str(tmp_path)}
    if command is evaluate:
        (tmp_path / "model.keras").touch()
        (tmp_path / "flags.cfg").write_text("--dataset=digits\n--ifia_objective=mass_center\n")
    said = command.check(given)
    EvaluationSettings.of(given)
    assert len(said) == 1 and "--ifia_start" in said[0] and not caplog.records


def test_what_follows_from_a_flag_follows_again_when_the_flag_is_given(tmp_path):
    flags = {"dataset": "mnist", "method": "trades", "epsilon": 0.3, "ifia_steps": 50, "eval_pgd_step_size": 0.02}
    (tmp_path / "flags.cfg").write_text(flagfile.to_flagfile({**flags, **Experiment.of(flags).flags()}))
    assert flagfile.read(tmp_path / "flags.cfg")["ifia_epsilon"] == 0.3
    evaluation = EvaluationSettings.of({**flagfile.of_run(tmp_path), "epsilon": 0.1}).resolved()
    assert (evaluation.epsilon, evaluation.pgd_epsilon, evaluation.step_size) == (0.1, 0.1, 0.005)
    assert (evaluation.steps, evaluation.pgd_step_size) == (50, 0.02)  # these were given
    assert Experiment.of(flagfile.of_run(tmp_path)).flags() == Experiment.of(flags).flags()
    assert flagfile.of_run(tmp_path / "elsewhere") == {}


def test_a_run_says_its_data_set_and_method_where_nobody_gave_them(tmp_path):
    (tmp_path / "flags.cfg").write_text(flagfile.to_flagfile(Experiment.of({}).flags()))
    run = flagfile.of_run(tmp_path)
    assert (run["dataset"], run["method"]) == (DataSettings().dataset, RunSettings().method)


def test_a_run_of_the_former_version_is_evaluated_as_it_was_set(tmp_path):
    # The former version wrote every setting of training, evaluation and certification, one per line.
    shutil.copy(ROOT / "tests" / "former_flags.cfg", tmp_path / "flags.cfg")
    lines = (tmp_path / "flags.cfg").read_text().splitlines()[1:]
    former = dict(line.removeprefix("--").split("=") for line in lines)
    given = flagfile.of_run(tmp_path)
    for record in (*Experiment.of(given).records, JobSettings.of(given)):
        flags = {flag: flagfile.text(value) for flag, value in record.flags().items()}
        assert flags.items() >= {flag: former[flag] for flag in flags if flag in former}.items()
    evaluation = EvaluationSettings.of(given).resolved()
    assert (evaluation.epsilon, evaluation.steps, evaluation.step_size, evaluation.k) == (0.3, 100, 0.01, 200)
    assert (evaluation.pgd_epsilon, evaluation.pgd_steps, evaluation.pgd_step_size) == (0.3, 100, 0.01)
    assert (evaluation.evaluation_protocol, evaluation.start) == ("ours", "random")
    assert DataSettings.of(given) == DataSettings(dataset="digits", seed=0)


def test_a_run_whose_flags_this_version_does_not_know_is_refused(tmp_path):
    (tmp_path / "flags.cfg").write_text("--dataset=digits\n--approx_factor=10\n")
    with pytest.raises(UsageError, match=r"flags.cfg: Unknown command line flag 'approx_factor'"):
        flagfile.of_run(tmp_path)


def test_explicit_keeps_what_differs_from_what_would_be_derived():
    resolve = lambda given: {"a": given.get("a", 1), "b": given.get("b", 2 * given.get("a", 1))}
    assert settings.explicit({"a": 3, "b": 6}, resolve) == {"a": 3}
    assert settings.explicit({"a": 3, "b": 5}, resolve) == {"a": 3, "b": 5}


def test_explicit_keeps_what_the_others_make_no_sense_without():
    def resolve(given):
        if given.get("points", 5) % given.get("steps", 10):
            raise UsageError("steps must divide points")
        return given

    assert settings.explicit({"points": 2, "steps": 1}, resolve) == {"points": 2, "steps": 1}
