"""YAML text as plain data, for specs and rule files alike.

Scalars follow the core schema of YAML 1.2 (`no` is a language and `1:30` is text), plus `_` between digits. Only
null, true and false, finite numbers, text, lists and mappings exist; a key is always text and is given once; there
are no aliases, which could make a small file huge, and no lone surrogates, which no file could hold.
"""

import math
import re
from typing import Any

import yaml

from stages.errors import SpecError

_SHOWN = 40
_TAG = "tag:yaml.org,2002:"


def read_yaml(text: str, where: str) -> Any:
    """The data in YAML text; `where` names the text in messages.

    Raises:
        SpecError: it is not YAML, or not plain data.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  # a SafeLoader with fewer types
    except RecursionError as error:
        raise SpecError(f"{where} cannot be read as YAML: it is nested too deeply; flatten it", where=where) from error
    except (yaml.YAMLError, ValueError, ArithmeticError) as error:  # the last two: impossible escapes and directives
        reason = " ".join(str(error).split())
        raise SpecError(f"{where} cannot be read as YAML: {reason}", where=where) from error


class _Loader(yaml.SafeLoader):
    """A loader that knows the core schema alone."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  # PyYAML's signature
        if not isinstance(node, yaml.MappingNode):
            raise yaml.YAMLError(f"!!map stands before what is no mapping (line {_line(node)})")
        found: dict[Any, Any] = {}
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                raise yaml.YAMLError(f"a key must be plain text (line {_line(name)})")
            if name.value in found:
                raise yaml.YAMLError(f"the key {_shown(name.value)} is given twice (line {_line(name)})")
            found[_text(name.value)] = self.construct_object(value, deep=deep)
        return found

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        return super().compose_node(parent, index)

    def scalar(self, node: Any) -> Any:
        """The value of a scalar of the core schema."""
        kind = node.tag.removeprefix(_TAG)
        value = self.construct_scalar(node)
        try:
            return _READ[kind](value)
        except (ValueError, LookupError) as error:
            raise yaml.YAMLError(f"{_shown(value)} is no valid {kind} (line {_line(node)})") from error

    def refuse(self, node: Any) -> Any:
        """Types beyond the core schema."""
        raise yaml.YAMLError(f"the tag {_shown(node.tag)} is not allowed; write plain data (line {_line(node)})")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _shown(value: str) -> str:
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "…")


def _integer(text: str) -> int:
    digits = text.replace("_", "")
    return int(digits, {"0x": 16, "0o": 8}.get(digits.lstrip("+-")[:2], 10))


def _float(text: str) -> float:
    value = float(text.replace("_", ""))
    if not math.isfinite(value):
        raise ValueError("beyond what a number holds")
    return value


def _text(text: str) -> str:
    text.encode()  # a lone surrogate raises UnicodeEncodeError, a ValueError
    return text


_READ = {
    "null": {"": None, "~": None, "null": None, "Null": None, "NULL": None}.__getitem__,
    "bool": {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}.__getitem__,
    "int": _integer,
    "float": _float,
    "str": _text,
}
_Loader.yaml_constructors = {
    **{_TAG + kind: _Loader.scalar for kind in _READ},
    _TAG + "seq": yaml.SafeLoader.construct_yaml_seq,
    _TAG + "map": yaml.SafeLoader.construct_yaml_map,
    None: _Loader.refuse,
}
_Loader.yaml_implicit_resolvers = {}
for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9][0-9_]*|0o[0-7_]+|0x[0-9a-fA-F_]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(f"(?:{_pattern})\\Z"), _first)
