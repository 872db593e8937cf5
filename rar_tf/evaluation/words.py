"""What an evaluation's numbers come from, and the numbers, in words."""

from collections.abc import Mapping
from typing import Any

from rar_tf.statistics import Paired


def setting_of(summary: Mapping[str, Any], flag: str) -> Any:
    """Return an evaluation's setting by its flag, or None; from Python it has its field's name."""
    return summary.get(flag, summary.get(flag.removeprefix("ifia_").removeprefix("eval_")))


def attack_of(summary: Mapping[str, Any]) -> str:
    """Return in a phrase which attack the scores come from: "auto (ours), rar maps, ε = 0.3, 100 steps"."""
    attack, protocol = summary.get("attack"), summary.get("evaluation_protocol")
    if attack is None:
        return "not recorded"
    parts = [attack + (f" ({protocol})" if protocol else "")]
    if attack != "none":
        budget, steps, maps = (setting_of(summary, flag) for flag in ("ifia_epsilon", "ifia_steps", "protocol"))
        parts += [f"{maps} maps"] if maps else []
        parts += [f"ε = {budget:.3g}"] if budget else []
        parts += [f"{steps} steps"] if steps else []
        objective = setting_of(summary, "ifia_objective")
        parts += [f"objective {objective}"] if objective not in (None, "topk") else []
        parts += ["directions of another network"] if summary.get("surrogate_weights_digest") else []
    return ", ".join(parts)


def predictions_of(summary: Mapping[str, Any]) -> str:
    """Return in a phrase which attack the adversarial accuracies come from: "pgd, ε = 0.3, 40 steps"."""
    budget, steps = (setting_of(summary, f"eval_pgd_{name}") for name in ("epsilon", "steps"))
    parts = [*(summary.get("prediction_attacks") or ["none"])]
    return ", ".join(parts + ([f"ε = {budget:.3g}"] if budget else []) + ([f"{steps} steps"] if steps else []))


def images_of(summary: Mapping[str, Any]) -> str:
    """Return how many images were evaluated: one number, or those of maps and those of predictions."""
    maps, predictions = summary.get("num_examples"), summary.get("accuracy_examples")
    return str(maps) if predictions in (None, maps) else f"{maps} / {predictions}"


def accuracies(summary: Mapping[str, Any]) -> list[str]:
    """Return the names of the accuracies that a summary has."""
    return [
        name for name, value in summary.items() if name.startswith("adversarial_accuracy") and isinstance(value, float)
    ]


def cell(value, digits: int = 4, attainable: bool = False) -> str:
    """Return a number, or a score's statistics, as a table has it; with what is attainable where that is asked for."""
    if isinstance(value, dict):
        if value["mean"] is None:
            return "-"
        low, high = value["ci95"]
        found = f"{value['mean']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]; {median_of(value, digits)}"
        if attainable and value.get("attainable") is not None:
            found += f"; attainable {value['attainable']:.{digits}f}"
        return found
    return "-" if value is None else f"{value:.{digits}f}"


def median_of(value: Mapping[str, Any], digits: int) -> str:
    """Return the median of a score's statistics, with its own interval where they have it: older ones do not."""
    interval = value.get("median_ci95")
    ends = "" if interval is None else f" [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"
    return f"median {value['median']:.{digits}f}{ends}"


def less(found: Paired | None) -> str:
    """Return a mean difference with its interval, as a table has it."""
    return "-" if found is None else f"{found.difference:+.3f} [{found.ci95[0]:+.3f}, {found.ci95[1]:+.3f}]"


def mean_of(value: Any) -> Any:
    """Return a score's mean from its statistics, and anything else as it is."""
    return value["mean"] if isinstance(value, dict) else value
