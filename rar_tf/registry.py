"""Names that users choose from, and what each stands for, imported on first use.

A registry knows its names without TensorFlow, so that flags and their help can be made of it at once.
"""

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rar_tf import checks


class Registry(Mapping[str, Any]):
    """A mapping from names to objects that lie elsewhere.

    Args:
      what: what the names name, as messages say it: "method", "attribution", …
      places: name -> "module:attribute", or the object itself.
    """

    def __init__(self, what: str, places: dict[str, Any]):
        self.what, self._places = what, dict(places)

    def __getitem__(self, name: str) -> Any:
        """Return what a name stands for. Raises: UsageError for an unknown name."""
        checks.one_of(self._places, **{self.what: name})
        place = self._places[name]
        if not isinstance(place, str):
            return place
        module, _, attribute = place.partition(":")
        return getattr(importlib.import_module(module), attribute)

    def add(self, name: str, value: Any) -> None:
        """Give a name to something of the user's own; flags of this process know it too."""
        self._places[name] = value

    def modules(self) -> dict[str, str]:
        """Return the module of each object, by the object's own name."""
        places = [place.partition(":") for place in self._places.values() if isinstance(place, str)]
        return {attribute: module for module, _, attribute in places}

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places


def on_first_use(
    package: str, places: Mapping[str, str]
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__all__`, `__getattr__` and `__dir__` of a package whose names are imported on first use.

    Args:
      places: name -> the module that has it.
    """
    names = sorted(places)

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(places[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return names, get, lambda: sorted({*vars(sys.modules[package]), *names})
