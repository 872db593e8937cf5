"""Flags made from the records of settings, and flag files: what a run was told, written and read back."""

import difflib
import functools
import os
import pathlib
import re
from collections.abc import Container, Iterable, Mapping
from typing import Any

from absl import flags

from rar_tf import settings
from rar_tf.certification.settings import RECORDS as CERTIFICATION
from rar_tf.data.settings import DataSettings
from rar_tf.errors import UsageError
from rar_tf.evaluation.settings import EvaluationSettings
from rar_tf.experiment.jobs import JobSettings
from rar_tf.experiment.settings import Experiment, RunSettings
from rar_tf.models.settings import NetworkSettings
from rar_tf.objectives.settings import RECORDS as METHODS
from rar_tf.settings import Item, Record, items

FLAGS = flags.FLAGS

# Flag files that come with the package: a wheel has them inside, a checkout beside it.
_PACKAGE = pathlib.Path(__file__).resolve().parent.parent
SHIPPED = next((place / "flags" for place in (_PACKAGE, _PACKAGE.parent) if (place / "flags").is_dir()), _PACKAGE)

# Every record that has flags; a flag that several of them have is the same setting.
RECORDS: tuple[type[Record], ...] = (
    DataSettings,
    NetworkSettings,
    RunSettings,
    *METHODS,
    EvaluationSettings,
    *CERTIFICATION,
    JobSettings,
)


def all_items() -> dict[str, Item]:
    """Return every setting that has a flag, by the flag's name."""
    found: dict[str, Item] = {}
    for record in RECORDS:
        for item in items(record):
            if item.flag:
                found.setdefault(item.flag, item)
    return found


def define_flags(values: flags.FlagValues = FLAGS) -> None:
    """Define one flag for every setting. None of them has a value unless it is given: defaults are the records'."""
    for name, item in all_items().items():
        text = f"{item.help}{_default(name)}"
        if item.is_tuple:
            flags.DEFINE(_TupleParser(item.kind), name, None, text, values, _TupleSerializer(","))
        elif item.kind is bool:
            flags.DEFINE_boolean(name, None, text, values)
        elif item.kind is int:
            flags.DEFINE_integer(name, None, text, flag_values=values)
        elif item.kind is float:
            flags.DEFINE_float(name, None, text, flag_values=values)
        elif item.choices:
            flags.DEFINE_enum(name, None, list(item.choices), text, values)
        else:
            flags.DEFINE_string(name, None, text, values)


@functools.cache  # a page of all tables reads hundreds of flag files, each with flags of its own
def _default(flag: str) -> str:
    """The default as `--help` shows it: one for all records that have the flag, or each record's own."""
    found: dict[str, list[str]] = {}
    for record in RECORDS:
        for item in items(record):
            # Settings that a record inherits unchanged are the parent's.
            own = item.name in vars(record).get("__annotations__", {})
            if item.flag == flag and own and item.default is not None:
                found.setdefault(text(item.default), []).append(record.__name__)
    if not found:  # inherited by all that have it
        default = next(item.default for record in RECORDS for item in items(record) if item.flag == flag)
        return "" if default is None else f" (default: {text(default)})"
    if len(found) == 1:
        return f" (default: {next(iter(found)) or 'none'})"
    return " (default: " + ", ".join(f"{value} for {'/'.join(names)}" for value, names in found.items()) + ")"


def text(value: Any) -> str:
    """Return a value as a flag file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


class _TupleParser(flags.ArgumentParser):
    """Comma-separated values."""

    syntactic_help = "comma-separated values"

    def __init__(self, item: type):
        self.item = item

    def parse(self, argument):
        if isinstance(argument, (list, tuple)):
            return tuple(argument)
        return tuple(self.item(part.strip()) for part in argument.split(",") if part.strip())

    def flag_type(self):
        return f"tuple of {self.item.__name__}"


class _TupleSerializer(flags.ListSerializer):
    def serialize(self, value):
        return ",".join(map(str, value))


def several(argument: str) -> tuple[str, ...]:
    """Return the values that a flag lists: between commas, or between semicolons, so that values may hold commas."""
    return tuple(filter(None, map(str.strip, argument.split(";" if ";" in argument else ","))))


def given() -> dict[str, Any]:
    """Return the settings that the command line or its flag files gave, by flag name."""
    return {name: item.checked(getattr(FLAGS, name)) for name, item in all_items().items() if FLAGS[name].present}


def flags_of(records: Iterable[type[Record] | str]) -> list[str]:
    """Return the flags that records of settings read, and those that are named themselves, each once."""
    found = [
        [record] if isinstance(record, str) else [f for i in items(record) for f in (i.flag, i.otherwise) if f]
        for record in records
    ]
    return list(dict.fromkeys(flag for each in found for flag in each))


def unread(
    names: Iterable[str], settings: Container[str], command: str, records: Iterable[type[Record] | str]
) -> list[str]:
    """Return a sentence for each of these flags that is one of the settings, and none that these records hold."""
    read = flags_of(records)
    ignored = [name for name in names if name in settings and name not in read]
    hint = "; train writes to --model_dir" if command == "train" else ""
    return [f"{command} does not read --{name} here{hint * (name == 'output_dir')}" for name in ignored]


def read(path: str | os.PathLike) -> dict[str, Any]:
    """Return the settings that a flag file gives, by flag name.

    Raises: UsageError where the file is missing or a line of it is no flag.
    """
    return parse([f"--flagfile={os.fspath(path)}"], of=os.fspath(path))


def parse(arguments: list[str], *, of: str = "", known_only: bool = False) -> dict[str, Any]:
    """Return the settings that a command's arguments give, by flag name.

    Args:
      of: what an error names.
      known_only: whether other flags are passed over.

    Raises: UsageError for values that cannot be.
    """
    values = flags.FlagValues()
    define_flags(values)
    try:
        values(["arguments", *expand(arguments)], known_only=known_only)
    except (flags.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{of}: {said(error)}" if of else said(error)) from error
    return {name: getattr(values, name) for name in all_items() if values[name].present}


def said(error: BaseException) -> str:
    """Return what an error says, in plain words where Python's own conversions or absl said it."""
    text = str(error)
    for words, plain in _CONVERSIONS.items():
        text = re.sub(words, plain, text)
    return text


_CONVERSIONS = {
    r"invalid literal for int\(\) with base 10: .*": "must be a whole number",
    r"could not convert string to float: .*": "must be a number",
    r"flag --(\w+)=None: Flag --\w+ must have a value other than None\.": r"give --\1",
    r"\('Non-boolean argument to boolean flag', .*\)": "must be true or false",
}


def to_flagfile(values: Mapping[str, Any]) -> str:
    """Return a flag file that gives these values."""
    return "".join(f"--{name}={text(value)}\n" for name, value in values.items() if value is not None)


def of_run(model_dir: str | os.PathLike | None) -> dict[str, Any]:
    """Return what a run's flags.cfg gives, without the values that follow from others of it; nothing without the file.

    Other flags can be laid over them: what was derived from a flag that they give is derived again. Data set and method
    are always there: they are what the run is called, also where nobody had to give them.
    """
    path = None if model_dir is None else pathlib.Path(model_dir) / "flags.cfg"
    if path is None or not path.is_file():
        return {}
    values = read(path)
    kept = settings.explicit(values, lambda given: Experiment.of(given).flags())
    return {name: value for name, value in values.items() if name in kept or name in ("dataset", "method")}


def expand(
    arguments: list[str], folder: pathlib.Path | None = None, inside: tuple[pathlib.Path, ...] = ()
) -> list[str]:
    """Return the arguments with each --flagfile=FILE replaced by the file's lines, nested ones too.

    A nested file is looked for beside the file that names it, then in the working directory, then among those that come
    with the package, there by its name alone too: digits_ig_sum_norm, fast/mnist_madry. Comments start with # or // at
    the beginning of a line.

    Args:
      folder, inside: of the file that the arguments come from, and the files that name it.

    Raises: UsageError for a file that is missing or names itself, or a line that is no flag.
    """
    expanded = []
    arguments = list(arguments)
    while arguments:
        argument = arguments.pop(0)
        name, equals, value = argument.lstrip("-").partition("=")
        if not argument.startswith("-") or name != "flagfile":
            expanded.append(argument)
            continue
        if not equals:
            if not arguments:
                raise UsageError("--flagfile needs a file")
            value = arguments.pop(0)
        expanded += _read(value, folder, inside)
    return expanded


def shipped() -> list[str]:
    """Return the names of the flag files that come with the package, as `--flagfile` takes them from any folder."""
    return sorted(path.relative_to(SHIPPED).with_suffix("").as_posix() for path in SHIPPED.rglob("*.cfg"))


def _find(name, folder):
    """Where a flag file lies: beside the one that names it, where its path says, or among those of the package."""
    given = pathlib.Path(name).expanduser()
    own = SHIPPED / (given.relative_to("flags") if given.parts[:1] == ("flags",) else given)
    candidates = [*([folder / name] if folder else []), given, own, own.with_name(f"{own.name}.cfg")]
    return next((path for path in candidates if os.path.isfile(path)), given)


def _read(name, folder, inside):
    path = _find(name, folder)
    try:
        if path.resolve() in inside:
            raise UsageError(f"flag file {name} names itself, by way of {' and '.join(each.name for each in inside)}")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        alike = difflib.get_close_matches(pathlib.Path(name).stem, shipped())
        hint = f"; the package has {', '.join(alike)}" if alike else ""
        raise UsageError(f"cannot read flag file {name}: {getattr(error, 'strerror', None) or error}{hint}") from error
    kept = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith(("#", "//")):
            continue
        if not line.startswith("-") or any(c.isspace() for c in line.split("=")[0]):
            raise UsageError(f"{path}:{number}: not a flag (--name=value): {line}")
        if " #" in line:
            raise UsageError(f"{path}:{number}: a comment must have a line of its own: {line}")
        kept.append(line)
    return expand(kept, path.parent, (*inside, path.resolve()))
