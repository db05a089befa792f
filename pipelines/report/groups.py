"""Nested mappings as short lists of named quantities, each written by what its name says it is."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.quantities import duration, size, value
from pipelines.visible import one_line

#: Names that mean more than they say.
_NAMES = {
    "seconds": "on the clock",
    "cpu_seconds": "processor time",
    "peak_memory_bytes": "peak memory",
    "bytes": "size",
}
_INTERVAL = {"value", "low", "high"}
_CHARACTERS = 160

Row = tuple[str, str]


def groups(mapping: Mapping[str, Any]) -> list[tuple[str, list[Row]]]:
    """Titled lists of (name, quantity): what is no mapping first, without a title, then one list for each mapping."""
    plain: list[Row] = []
    titled: list[tuple[str, list[Row]]] = []
    for name, given in mapping.items():
        if isinstance(given, Mapping) and not _is_interval(given):
            rows = list(_rows(given, ""))
            titled.append((_words(name), rows or [("none", "")]))
        else:
            plain.append((_words(name), quantity(name, given)))
    return ([("", plain)] if plain else []) + titled


def quantity(name: str, given: Any) -> str:
    """A value in words, with the unit that its name tells: bytes, seconds."""
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return _measured(name, given)
    if isinstance(given, Mapping) and _is_interval(given):
        shown = f"{value(given['value'])} ({value(given['low'])} to {value(given['high'])})"
    elif isinstance(given, list) and not any(isinstance(part, (Mapping, list)) for part in given):
        shown = ", ".join(map(value, given)) or "none"
    elif isinstance(given, (Mapping, list)):
        shown = json.dumps(given, ensure_ascii=False)
    else:
        shown = value(given)
    return one_line(shown, _CHARACTERS)


def _measured(name: str, given: float) -> str:
    if name == "bytes" or name.endswith("_bytes"):
        return size(given)
    return duration(given) if name == "seconds" or name.endswith("_seconds") else value(given)


def _rows(mapping: Mapping[str, Any], above: str) -> Iterator[Row]:
    for name, given in mapping.items():
        own = f"{above}{_words(name)}"
        if isinstance(given, Mapping) and not _is_interval(given) and given:
            yield from _rows(given, f"{own} · ")
        else:
            yield own, quantity(name, given) if given != {} else "none"


def _is_interval(given: Mapping[str, Any]) -> bool:
    return given.keys() == _INTERVAL


def _words(name: str) -> str:
    return _NAMES.get(name, name.removesuffix("_bytes").removesuffix("_seconds").replace("_", " "))
