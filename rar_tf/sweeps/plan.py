"""Which networks a sweep trains, which evaluations it makes of them, and where they lie.

An axis is a setting, or flagfile, and the values that it takes; a sweep is their product, or the settings as they are
and one value at a time instead. What only evaluation reads does not train again; what the method of a combination does
not read makes no further row.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from rar_tf.data.settings import DataSettings
from rar_tf.errors import UsageError
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.experiment import flagfile
from rar_tf.experiment.jobs import JobSettings
from rar_tf.experiment.settings import Experiment
from rar_tf.results import read_json

NETWORKS = ("model_dir", "keras_model", "saved_model")
FILES, SEED, BASE = "flagfile", "seed", "base"


class Axis(NamedTuple):
    """A setting's name, or flagfile, and its values as flags have them."""

    name: str
    values: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> "Axis":
        """Return the axis that NAME=VALUE,VALUE,… says; with semicolons between them, values may hold commas.

        Raises: UsageError for another form, an unknown setting, or two values that would have one name.
        """
        name, _, values = text.partition("=")
        found = flagfile.several(values)
        if not found or (name != FILES and name not in flagfile.all_items()):
            raise UsageError(f"give --over=NAME=VALUE,VALUE,… with a setting's name, or flagfile; got --over={text}")
        if name in ("output_dir", "shard", "merge"):
            raise UsageError(f"--over={name}: every row has its own output directory, with all images in it")
        axis = cls(name, found)
        labels = [axis.label(value) for value in found]
        twice = next((label for label in labels if labels.count(label) > 1), None)
        if twice is not None:
            raise UsageError(f"--over={text}: two values are called {twice}, and so would their folders be")
        return axis

    def label(self, value: str) -> str:
        """Return a value's name in tables and folders: of a path its last part, without the suffix of a file."""
        path = pathlib.Path(value)
        if self.name == FILES or len(path.parts) > 1:
            return path.stem if path.suffix[1:].isalpha() else path.name
        return value

    def part(self, value: str) -> str:
        """Return what stands for a value in a folder's name."""
        label = self.label(value).replace(",", "+")
        return label if self.name == FILES else f"{self.name}={label}"


@dataclasses.dataclass(frozen=True)
class Row:
    """One evaluation of a sweep.

    labels: by axis, those that it reads. model_dir: the network to train first, None where there is one. train,
    evaluate: the commands' arguments. folder: of the evaluation.
    """

    labels: Mapping[str, str]
    model_dir: pathlib.Path | None
    train: tuple[str, ...]
    evaluate: tuple[str, ...]
    folder: pathlib.Path
    given: Mapping[str, Any]


def plan(axes: list[Axis], arguments: list[str], folder: pathlib.Path, *, alone: bool = False) -> list[Row]:
    """Return the rows of a sweep, those with one network side by side.

    Args:
      arguments: the flags that every command gets.
      folder: gets a model directory for each network, or evaluations where the flags name a network.
      alone: one value at a time, after the settings as they are; with each seed where there are several.

    Raises: UsageError for values that cannot be, an axis that no row reads, or folders that would be the same.
    """
    if len({axis.name for axis in axes}) < len(axes):
        raise UsageError("give each --over once, with all of its values")
    rows: dict[tuple, Row] = {}
    unread = {axis.name for axis in axes}
    for chosen, given in _combinations(axes, arguments, alone):
        trained, evaluated = _reads(given)
        chosen = {name: value for name, value in chosen.items() if name in trained | evaluated}
        unread -= set(chosen)
        row = _row(axes, arguments, folder, given, chosen, trained, BASE if alone else "")
        rows.setdefault(tuple(chosen.items()), row)
    if unread:
        raise UsageError(
            f"nothing reads --over={', '.join(sorted(unread))}: no method or evaluation here has that setting"
            + (", and a finished network is not trained again" if not trained else "")
        )
    folders = [row.folder for row in rows.values()]
    if len(set(folders)) < len(folders):
        raise UsageError("two rows would have the same folder; rename a flag file, or give another value")
    return list(rows.values())


def reads(axes: list[Axis], arguments: list[str], *, alone: bool = False) -> set[str]:
    """Return the flags that the training or the evaluation of some row reads."""
    return set().union(*(flags for _, given in _combinations(axes, arguments, alone) for flags in _reads(given)))


def odd(rows: list[Row]) -> list[str]:
    """Return sentences about flags of rows that contradict their evaluation protocol, each once."""
    return list(dict.fromkeys(sentence for row in rows for sentence in EvaluationSettings.odd(_with_run(row))))


def _with_run(row):
    """What a row's evaluation is given, on top of the flags of a run that was there before."""
    return row.given if row.model_dir is not None else {**flagfile.of_run(row.given.get("model_dir")), **row.given}


def _combinations(axes, arguments, alone):
    """Values of the axes by name, and what they and the arguments give."""
    varied = [axis for axis in axes if axis.name != SEED]
    singles = [[], *([axis._replace(values=(value,))] for axis in varied for value in axis.values)]
    for group in [[*single, *(axis for axis in axes if axis.name == SEED)] for single in singles] if alone else [axes]:
        for values in itertools.product(*(axis.values for axis in group)):
            chosen = dict(zip((axis.name for axis in group), values))
            yield chosen, flagfile.parse(_arguments(arguments, chosen), known_only=True)


def _reads(given):
    """The flags that training reads, none of them where the network is there, and those that evaluation alone reads."""
    evaluation = (EvaluationSettings.of(given), JobSettings.of(given))
    if any(given.get(name) for name in NETWORKS):
        return set(), {FILES, *_flags(*evaluation, DataSettings.of(given))}
    experiment = Experiment.of(given)
    own = (record for record in experiment.records if not isinstance(record, EvaluationSettings))
    trained = {FILES, *_flags(*own)}
    return trained, _flags(*evaluation) - trained


def _flags(*records):
    return set(flagfile.flags_of(map(type, records)))


def _row(axes, arguments, folder, given, chosen, trained, base):
    known = {axis.name: axis for axis in axes}

    def name_of(part):
        return ",".join(known[name].part(value) for name, value in part.items()) or base

    training = {name: value for name, value in chosen.items() if name in trained}
    rest = {name: value for name, value in chosen.items() if name not in trained}
    labels = {name: known[name].label(value) for name, value in chosen.items()}
    flags_of = {True: _arguments(arguments, training), False: _arguments(arguments, chosen)}
    if not trained:
        place = folder / name_of(chosen)
        return Row(labels, None, (), (*flags_of[False], f"--output_dir={place}"), place, given)
    model_dir = folder / name_of(training)
    place = model_dir / (name_of(rest) if rest else "evaluation")
    where = f"--model_dir={model_dir}"
    evaluate = (*flags_of[False], where, f"--output_dir={place}")
    return Row(labels, model_dir, (*flags_of[True], where), evaluate, place, given)


def _arguments(arguments, chosen):
    """Flag files first: the last value wins, and what the command line gives shall."""
    found = [*arguments, *(f"--{name}={value}" for name, value in chosen.items())]
    return sorted(found, key=lambda argument: not argument.startswith(f"--{FILES}="))


def own_arguments(arguments: list[str], without: tuple[str, ...], switches: tuple[str, ...] = ()) -> list[str]:
    """Return a command line's arguments but for some flags, whose value is joined by = or follows, and switches."""
    kept, rest = [], iter(arguments)
    for argument in rest:
        name, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name in (*without, FILES):
            value = value if equals else next(rest, "")
            if name not in without:
                kept.append(f"--{name}={value}")
        elif not (argument.startswith("-") and name.removeprefix("no") in switches):
            kept.append(argument)
    return kept


def check_unchanged(rows: list[Row]) -> None:
    """Raise UsageError where an evaluation in a row's folder was made with other settings than the row's."""
    for row in rows:
        if not (row.folder / "settings.json").is_file():
            continue
        known, given = read_json(row.folder / "settings.json"), _with_run(row)
        changed = [
            f"--{name} was {flagfile.text(known[name])}, now {flagfile.text(value)}"
            for name, value in EvaluationSettings.of(given).flags().items()
            if name in known and known[name] != (list(value) if isinstance(value, tuple) else value)
        ]
        if changed:
            raise UsageError(
                f"{row.folder} holds an evaluation with other settings ({'; '.join(changed)}): remove that folder, or "
                "give another --output_dir; nothing was made anew"
            )
