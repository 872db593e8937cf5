"""Settings: each one defined once, as a field of a record beside the code that it steers.

A record is a frozen dataclass whose fields come from `setting`: type, default, help, choices, check and flag stand
together, and flags, constructors, flag files and summaries are all made from them. A setting may be left open (None)
and then be derived from others of its record.
"""

import dataclasses
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rar_tf import checks
from rar_tf.errors import UsageError


def setting(
    default: Any,
    help: str,
    *,
    flag: str | None = "",
    choices: Iterable[str] = (),
    check: Callable[..., None] | None = None,
    derive: Callable[[Any], Any] | None = None,
    otherwise: str | None = None,
    defines: bool = False,
    path: bool = False,
) -> Any:
    """Return a field of a record.

    Args:
      default: the value where none is given; None leaves it open.
      help: one phrase for `--help`.
      flag: the flag's name; by default the field's own, None for a setting that has no flag.
      choices: the names to choose from, of each item where the setting is a tuple: a registry, or a tuple.
      check: a function of `rar_tf.checks`, not asked about None.
      derive: (record) -> value of a setting that was left open, from the record's other settings.
      otherwise: the flag whose value counts where this one's is not given.
      defines: whether it decides the trained weights: a model directory belongs to one set of such settings.
      path: whether it is a file or folder: `~` is the home directory, and an empty one is refused.

    Every number must be finite and of the field's type, and a tuple that is not empty by default must have values.
    """
    metadata = {"help": help, "flag": flag, "choices": choices, "check": check, "derive": derive, "path": path}
    return dataclasses.field(default=default, metadata={**metadata, "otherwise": otherwise, "defines": defines})


def same(record: type["Record"], name: str, *default: Any) -> Any:
    """Return a setting of another record, with its default or with another one."""
    known = record.__dataclass_fields__[name]
    return dataclasses.field(default=default[0] if default else known.default, metadata=known.metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """What records of settings have in common; a subclass is a frozen, keyword-only dataclass of `setting` fields.

    Raises: UsageError for a value that fails its setting's check or is none of its choices.
    """

    def __post_init__(self):
        for item in items(type(self)):
            object.__setattr__(self, item.name, item.checked(getattr(self, item.name)))

    @classmethod
    def make(cls, values: Mapping[str, Any]):
        """Return a record of values by field name. Raises: UsageError for a name that is no setting of the record."""
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise UsageError(f"unknown setting {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        return cls(**values)

    @classmethod
    def of(cls, given: Mapping[str, Any], **values: Any):
        """Return the record that flags give, by flag name, and `values` for fields that have none."""
        for item in items(cls):
            for flag in filter(None, (item.flag, item.otherwise)):
                if item.name not in values and flag in given:
                    values[item.name] = given[flag]
        return cls(**values)

    def resolved(self):
        """Return the record with every setting that was left open derived from the others."""
        record = self
        for item in items(type(self)):
            if item.derive is not None and getattr(record, item.name) is None:
                record = dataclasses.replace(record, **{item.name: item.derive(record)})
        return record

    def replace(self, **changes: Any):
        """Return a copy with some settings changed."""
        return dataclasses.replace(self, **changes)

    def flags(self) -> dict[str, Any]:
        """Return the resolved values by flag name, those that stay open left out."""
        record = self.resolved()
        values = {item.flag: getattr(record, item.name) for item in items(type(self)) if item.flag}
        return {flag: value for flag, value in values.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class Item:
    """A setting of a record as flags need it. kind: bool, int, float or str, of each item where `is_tuple`.

    optional: whether it may be left open.
    """

    name: str
    kind: type
    is_tuple: bool
    optional: bool
    default: Any
    help: str
    flag: str | None
    choices: Iterable[str]
    check_value: Callable[..., None] | None
    derive: Callable[[Any], Any] | None
    otherwise: str | None
    defines: bool
    path: bool

    def checked(self, value: Any) -> Any:
        """Return a value in its own form: a tuple where one is meant, the home directory for `~`.

        Raises: UsageError for one that cannot be, naming the setting and, where it has another name, its flag.
        """
        name = self.name if self.flag in (None, self.name) else f"{self.name} (--{self.flag})"
        if value is None and not self.optional:
            raise UsageError(f"{name} needs a value, got None: leave it out to have its default")
        if value is None or (callable(value) and self.choices):
            return value
        if self.is_tuple:
            value = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
        if self.is_tuple and not value and self.default != () and not self.choices:  # of names there may be none
            raise UsageError(f"{name} needs at least one value")
        for each in value if self.is_tuple else (value,):
            checks.of_kind(self.kind, **{name: each})
            if self.choices:
                checks.one_of(self.choices, **{name: each})
        if self.check_value is not None:
            self.check_value(**{name: value})
        return checks.path(**{name: value}) if self.path else value


_ITEMS: dict[type[Record], tuple[Item, ...]] = {}


def items(record: type[Record]) -> tuple[Item, ...]:
    """Return the settings of a record, in order."""
    if record not in _ITEMS:
        _ITEMS[record] = tuple(_items(record))
    return _ITEMS[record]


def _items(record: type[Record]) -> list[Item]:
    types, found = typing.get_type_hints(record), []
    for field in dataclasses.fields(record):
        if "help" not in field.metadata:
            raise TypeError(f"{record.__name__}.{field.name} is no setting")
        meta, hint = field.metadata, types[field.name]
        options = [option for option in typing.get_args(hint) or (hint,) if option is not type(None)]
        kind = hint if typing.get_origin(hint) is tuple else options[0]
        is_tuple = typing.get_origin(kind) is tuple
        found.append(
            Item(
                name=field.name,
                kind=typing.get_args(kind)[0] if is_tuple else kind,
                is_tuple=is_tuple,
                optional=field.default is None or type(None) in typing.get_args(hint),
                default=field.default,
                help=meta["help"],
                flag=field.name if meta["flag"] == "" else meta["flag"],
                choices=meta["choices"],
                check_value=meta["check"],
                derive=meta["derive"],
                otherwise=meta["otherwise"],
                defines=meta["defines"],
                path=meta["path"],
            )
        )
    return found


def explicit(given: Mapping[str, Any], resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> dict[str, Any]:
    """Return the given values without those that would be the same had they not been given.

    A flag file of a finished run holds every value, the derived ones too. Where other flags are laid over it, a
    derived value must follow its source: `--epsilon=0.1` over a file with epsilon 0.3 and, derived from it, an attack's
    budget of 0.3 is to attack with 0.1.

    Args:
      given: values by flag name.
      resolve: (values given) -> all values by flag name.
    """
    kept = {}
    for flag, value in given.items():
        others = {name: each for name, each in given.items() if name != flag}
        try:
            follows = resolve(others).get(flag) == value
        except UsageError:  # the others make no sense without it
            follows = False
        if not follows:
            kept[flag] = value
    return kept


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seeded(Record):
    """Records whose code draws random numbers."""

    seed: int = setting(
        0, "every random number derives from the seed and the step", check=checks.seed_of_32_bits, defines=True
    )
