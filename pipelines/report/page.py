"""The report as one HTML page that needs no network: style, script and drawings are inside it.

Corpus text is hostile. Every string that a template prints is made visible and escaped (`finalize`, autoescape); the
page's own style and script are allowed by their hashes and nothing else is.
"""

import base64
import functools
import hashlib
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipelines import quantities
from pipelines.report.histogram_figure import SYMBOLS, histogram_figure, in_roots
from pipelines.report.sankey import sankey
from pipelines.report.svg import bar
from pipelines.visible import one_line, preview, visible

TEMPLATES = Path(__file__).parents[1] / "templates"
#: Rows of a long table that are shown before the rest is folded away.
TABLE_ROWS = 12
#: What steps count, in words; in the order in which they are told.
COUNTED = {
    "documents_without_tokens": "documents without a word, not compared",
    "documents_without_vector": "documents without a vector, not compared",
    "short_documents": "documents shorter than an n-gram, compared as a whole",
    "buckets": "buckets of documents with equal bands",
    "capped_buckets": "buckets too large to compare each with each",
    "skipped_pairs": "pairs left out in them",
    "compared_pairs": "pairs compared",
    "linked_pairs": "pairs linked",
    "vectors": "vectors",
    "sample": "vectors that trained the k-means",
    "cells": "cells of the k-means",
    "duplicates": "documents over the step’s own threshold",
    "paragraphs": "paragraphs or lines",
    "compared_paragraphs": "paragraphs long enough to compare",
    "repeated_paragraphs": "distinct paragraphs that are repeated",
    "occurrences": "times that they occur in all",
    "fingerprints": "fingerprints of passages",
    "repeated_fingerprints": "fingerprints that are repeated",
    "documents_read": "documents read again to compare them",
    "passages": "passages compared",
    "struck_passages": "passages that are repeated",
    "duplicate_documents": "documents with a repeated passage",
    "duplicate_bytes": "bytes in repeated passages",
}


def page(report: dict[str, Any]) -> str:
    """The HTML page of a report."""
    style, script = ((TEMPLATES / name).read_text("utf-8") for name in ("report.css", "report.js"))
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            policy=policy(style, script),
            funnel=funnel(report),
            failing=_failing_columns(report),
            table_rows=TABLE_ROWS,
        )
    )


def funnel(report: dict[str, Any]) -> list[dict[str, Any]]:
    """What is left after each part of the policy, in its order; a document stops at the first part that rejects it."""
    total = report["total"]
    left = total["documents_in"]
    rows = [{"name": "went in", "left": left, "lost": 0}]
    if total["quarantined"]:
        left -= total["quarantined"]
        rows.append({"name": "could be read and measured", "left": left, "lost": total["quarantined"]})
    for group in report["groups"]:
        left -= group["first"]
        rows.append({"name": group["group"], "left": left, "lost": group["first"]})
    return [*rows, {"name": "exported", "left": total["exported"], "lost": 0}]


def rule_text(rule: dict[str, Any]) -> str:
    """A rule in one line: `stats.words ≥ 50`, `ppl.nats_per_token ≤ p70 per lang.code`."""
    shown = rule["written"]
    text = f"{rule['column']} {SYMBOLS[rule['test']]} {quantities.value(shown)}"
    if rule["per"]:
        numbers = [r["value"] for r in rule["resolved"] if r["value"] is not None]
        return f"{text} per {rule['per']}" + (
            f" ({quantities.value(min(numbers))} to {quantities.value(max(numbers))})" if numbers else ""
        )
    found = rule["resolved"][0]["value"] if rule["resolved"] else None
    return text if found == shown else f"{text} = {quantities.value(found)}"


def reason_id(report: dict[str, Any], reason: str) -> str:
    """The anchor of a reason's row; made of its number, because a reason can be any text."""
    return f"reason-{[row['reason'] for row in report['reasons']].index(reason)}"


def counted(counts: dict[str, int]) -> list[tuple[str, int]]:
    """What a step counted, in words: those of `COUNTED` first, others by their own name; not what is zero."""
    known = [(label, counts[name]) for name, label in COUNTED.items() if counts.get(name)]
    return [*known, *((name.replace("_", " "), n) for name, n in counts.items() if n and name not in COUNTED)]


def _failing_columns(report: dict[str, Any]) -> dict[str, list[str]]:
    """For every reason, the columns whose rules give it."""
    columns: dict[str, list[str]] = {}
    for rule in report["rules"]:
        columns.setdefault(rule["reason"], []).append(rule["column"])
    return columns


def templates_of(folder: Path) -> Environment:
    """Templates of a folder whose every string is made visible and escaped; what is undefined is an error."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda v: visible(v) if isinstance(v, str) and not isinstance(v, Markup) else v,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@functools.cache
def environment() -> Environment:
    """Templates whose every string is made visible and escaped, with the filters and drawings that pages share."""
    made = templates_of(TEMPLATES)
    made.filters |= {
        "count": quantities.count,
        "size": quantities.size,
        "duration": quantities.duration,
        "value": quantities.value,
        "preview": preview,
        "one_line": one_line,
        "yaml": lambda v: yaml.safe_dump(v, sort_keys=False, allow_unicode=True, width=100),
    }
    made.globals |= {
        "share": quantities.share,
        "rate": quantities.rate,
        "bar": bar,
        "sankey": sankey,
        "histogram_figure": histogram_figure,
        "in_roots": in_roots,
        "rule_text": rule_text,
        "reason_id": reason_id,
        "counted": counted,
    }
    return made


def policy(style: str, script: str | None = None) -> str:
    """The content security policy: this style and this script (None: no script), no network, no forms."""
    scripts = "" if script is None else f"script-src {_hash(script)}; "
    return f"default-src 'none'; style-src {_hash(style)}; {scripts}base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
