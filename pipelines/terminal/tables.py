"""Tables: the plan of a spec, every stage there is, and what is missing on this machine."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from pipelines.doctor import Check
from pipelines.quantities import count, duration, size, value
from pipelines.terminal.parts import KEPT, REJECTED, SOFT, plain, table

#: Columns of a stage in the table of all stages.
_COLUMNS_SHOWN = 6
ROLES = ("source", "row", "corpus", "sink")


def plan_table(preview: Mapping[str, Any]) -> RenderableType:
    """What a run would do: every step with its key, what is there already, and why the rest is not."""
    made = table("step", "kind", "key", ">there", ">missing", ">estimated", "why")
    for line in preview["steps"]:
        misses = line["misses"]
        estimate = line.get("estimated_cpu_seconds")
        made.add_row(
            plain(line["step"]),
            Text(line["kind"], SOFT),
            Text(line["key"], SOFT),
            "–" if line["hits"] is None else count(line["hits"]),
            Text("none", KEPT) if not misses else Text(count(misses) if line["shards"] else "all", REJECTED),
            "–" if estimate is None else duration(estimate),
            plain("; ".join(line["why"])),
        )
    exact = "" if preview["text_bytes_exact"] else "about "
    summary = (
        f"{preview['name']}: {count(preview['files'])} files, {size(preview['input_bytes'])}, "
        f"{exact}{size(preview['text_bytes'])} of text; {count(preview['rules'])} rules; {preview['text']} leaves"
    )
    compared = preview["compared_with"]
    return Group(
        plain(summary), plain(f"compared with {compared}" if compared else "first run of this spec", SOFT), made
    )


def stages_table(stages: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Every stage with the columns it writes, their units and which direction is better."""
    made = table("kind", "role", "columns", "what it measures")
    for stage in sorted(stages, key=lambda s: (ROLES.index(s["role"]), s["kind"])):
        columns = Text("\n").join(_column(c) for c in stage["columns"][:_COLUMNS_SHOWN])
        if len(stage["columns"]) > _COLUMNS_SHOWN:
            columns.append(f"\nand {len(stage['columns']) - _COLUMNS_SHOWN} more: tamis stages {stage['kind']}", SOFT)
        made.add_row(Text(stage["kind"], "bold"), Text(stage["role"], SOFT), columns, plain(stage["summary"]))
    return made


def stage_page(stage: Mapping[str, Any]) -> RenderableType:
    """One stage: its description, fields, columns and examples."""
    fields = table("field", "type", "default")
    for name, field in stage["fields"].items():
        default = "required" if field["required"] else repr(field["default"])
        fields.add_row(name, plain(_type(field["type"]), SOFT), plain(default, characters=60))
    doc = "\n".join(line.strip() for line in stage["doc"].splitlines())
    parts: list[RenderableType] = [
        Text.assemble((stage["kind"], "bold"), (f"  {stage['role']}, version {stage['version']}", SOFT)),
        plain(doc),
        Text(),
        fields,
    ]
    if stage["columns"]:
        columns = table("column", "type", "unit", "better", "")
        for column in stage["columns"]:
            notes = (column.get(key, "") for key in ("unit", "better", "doc"))
            columns.add_row(column["name"], Text(column["type"], SOFT), *(plain(n) for n in notes))
        parts += [Text(), columns]
    if stage["examples"]:
        parts += [Text(), Text("examples", SOFT), *(_example(e) for e in stage["examples"])]
    return Group(*parts)


def doctor(checks: Sequence[Check]) -> RenderableType:
    """What is there, what is missing, and how to get it."""
    made = table("", "check", "found", "what to do")
    for check in checks:
        mark = (
            Text("ok", KEPT)
            if check.ok
            else Text("missing" if check.needed else "optional", REJECTED if check.needed else SOFT)
        )
        made.add_row(mark, plain(check.name), plain(check.found), plain("" if check.ok else check.advice))
    bad = sum(not c.ok and c.needed for c in checks)
    verdict = (
        Text(f"{bad} needed things are missing", REJECTED) if bad else Text("everything that is needed is here", KEPT)
    )
    return Group(made, Text(), verdict)


def _column(column: Mapping[str, str]) -> Text:
    arrow = {"higher": " ↑", "lower": " ↓"}.get(column.get("better", ""), "")
    return Text.assemble(column["name"], (f" {column.get('unit', '')}{arrow}", SOFT))


def _type(annotation: str) -> str:
    """`<class 'int'>` -> `int`."""
    return (
        annotation.removeprefix("<class '").removesuffix("'>").rpartition(".")[2]
        if "class" in annotation
        else annotation
    )


def _example(example: Mapping[str, Any]) -> Text:
    given = example["given"]
    shown = repr(given["text"]) if set(given) == {"text"} else ", ".join(f"{k} {v!r}" for k, v in given.items())
    gives = ", ".join(f"{name} {value(x)}" for name, x in example["gives"].items())
    fields = "".join(f" {k}: {v}" for k, v in example["fields"].items())
    return Text.assemble(plain(shown, characters=100), (f"{fields} → ", SOFT), plain(gives, characters=200))
