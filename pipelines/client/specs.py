"""Specs as the service takes them: plain data, whose paths mean there what they mean here."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pipelines import rule_files
from pipelines import spec as specs
from pipelines.spec import Spec
from pipelines.yaml_text import read_yaml
from stages.errors import SpecError

SpecLike: TypeAlias = Spec | Mapping[str, Any] | str | Path
#: Where relative paths of a spec file are: beside it on this machine, or below the service's first root.
Paths: TypeAlias = Literal["here", "there"]


def as_data(spec: SpecLike, changes: Mapping[str, Any] | None = None, paths: Paths = "here") -> dict[str, Any]:
    """A spec to send.

    A file is read as `tamis run` reads it: relative paths are made absolute, so the service must see the same files; with
    `paths="there"` it is sent as it is, and relative paths are below the service's first root, as those of a mapping are.

    Raises:
        SpecError: the file cannot be read, or the spec is wrong.
    """
    if isinstance(spec, Spec):
        if changes:
            raise SpecError("changes are for specs that are not parsed yet; give a path or a mapping, or no changes")
        return _located(spec)
    if isinstance(spec, Mapping):
        return _changed(spec, changes)
    if paths == "here":
        return _located(specs.load(spec, changes))
    try:
        text = Path(spec).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"the spec {str(spec)!r} cannot be read: {error}; check the path", spec=str(spec)) from error
    value = read_yaml(text, str(spec))
    if not isinstance(value, Mapping):
        raise SpecError(f"{str(spec)!r} is no spec: a spec is a mapping with at least `name` and `source`")
    return _changed(value, changes)


def _changed(spec: Mapping[str, Any], changes: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        made: dict[str, Any] = json.loads(json.dumps(spec, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise SpecError(f"the spec holds something that is not plain data: {error}") from error
    for path, change in (changes or {}).items():
        specs.set_field(made, path, change)
    return made


def _located(spec: Spec) -> dict[str, Any]:
    made = _changed(spec.raw, None)
    for entry in made.get("keep") or ():
        name = entry.get("rules") if isinstance(entry, dict) else None
        if isinstance(name, str) and name not in rule_files.shipped():
            raise SpecError(
                f"the rules {name!r} are a file beside the spec, which the service does not look at; write them into the spec, "
                "or put both below the service's first root and submit with paths='there' (--paths there)",
                rules=name,
            )
    if spec.ablate:
        made["ablate"] = [request.model_dump(mode="json", exclude_unset=True) for request in spec.ablate]
    return made
