"""Specs as people write them in the editor: YAML or JSON text, and where in it something is wrong."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from pipelines.yaml_text import read_yaml
from stages.errors import SpecError

#: Fields of a problem that name a place in the text: paths such as `keep[2].column`, names of steps and columns.
PLACES = ("where", "step", "column", "field", "source", "kind", "rules", "name")
#: Lines shown before and after one that is wrong.
AROUND = 2
_LINE = re.compile(r"line (\d+)")
_QUOTED = re.compile(r"['\"]([^'\"\n]{1,80})['\"]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def read_spec(text: str) -> dict[str, Any]:
    """The spec in a text.

    Raises:
        SpecError: it is neither YAML nor JSON, or no mapping.
    """
    found: Any = None
    if text.lstrip().startswith("{"):
        try:  # JSON may be indented with tabs, which YAML refuses
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None  # braces are YAML too, which tells better what is wrong
    if found is None:
        found = read_yaml(text, "the spec")
    if not isinstance(found, dict):
        raise SpecError("the spec is no mapping; begin with `name:` and `source:`, as the example does")
    return found


def line_of(text: str, problem: Mapping[str, Any]) -> int | None:
    """The line, from 1, that a problem is about; None where it names no place that can be found."""
    title, lines = str(problem.get("title", "")), text.splitlines()
    told = _LINE.search(title)
    if told is not None and 1 <= int(told[1]) <= len(lines):
        return int(told[1])
    for names in _places(problem, title):
        if (line := _descend(lines, names)) is not None:
            return line
    return None


def _places(problem: Mapping[str, Any], title: str) -> Iterator[list[str]]:
    """Names to look for, one below the other; the best guess first."""
    quoted = _QUOTED.findall(title.partition("did you mean")[0])  # what would be right is not in the text
    yield quoted  # the step, then what is wrong with it
    for name in quoted:
        yield [name]
    for field in PLACES:
        if isinstance(problem.get(field), str):
            yield _NAME.findall(problem[field])


def _descend(lines: list[str], names: list[str]) -> int | None:
    """The line that has the last of the names, each looked for after the one before."""
    at, found = 0, None
    for name in names:
        word = re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w-])")
        at = next((i for i in range(at, len(lines)) if word.search(lines[i].partition(" #")[0])), -1)
        if at < 0:
            return found
        found = at + 1
    return found


def around(text: str, line: int) -> list[tuple[int, str]]:
    """A line with those before and after it, numbered."""
    lines = text.splitlines()
    return [(n, lines[n - 1]) for n in range(max(1, line - AROUND), min(len(lines), line + AROUND) + 1)]


def as_yaml(spec: Mapping[str, Any]) -> str:
    """A spec as text to edit, which reads as the same spec: blocks outside, one line for what is small."""
    return yaml.dump(
        dict(spec), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None
    )


class _Dumper(yaml.SafeDumper):
    """Writes no aliases, which specs may not have, and quotes every text that would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True

    def text(self, data: str) -> yaml.ScalarNode:
        """A text, quoted where YAML 1.2 would take it for a number."""
        try:
            same = read_yaml(data, "a text") == data
        except SpecError:
            same = False
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if same else '"')


_Dumper.add_representer(str, _Dumper.text)
