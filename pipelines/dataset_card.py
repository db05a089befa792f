"""What lies beside the data of an export: the dataset card, Croissant metadata and checksums.

All are made of the manifest, the policy's counts and nothing else, so they are the same for the same run.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from pipelines.dataset_loading import HUGGING_FACE, MEDIA, loading
from pipelines.quantities import count, share, size

#: Hugging Face's size categories, by their lower limit.
_SIZES = (
    (10**12, "n>1T"),
    (10**11, "100B<n<1T"),
    (10**10, "10B<n<100B"),
    (10**9, "1B<n<10B"),
    (10**8, "100M<n<1B"),
    (10**7, "10M<n<100M"),
    (10**6, "1M<n<10M"),
    (10**5, "100K<n<1M"),
    (10**4, "10K<n<100K"),
    (10**3, "1K<n<10K"),
    (0, "n<1K"),
)
#: Formats in which Croissant's readers find columns.
_TABLES = ("parquet", "jsonl")
#: Values of a column that the card shows.
_SHOWN = 50
_COLUMNS = {
    "doc_id": "stable 128-bit id: hash of source, path and ordinal",
    "id": "the publisher's own id",
    "text": "the text",
    "source": "where the document comes from",
    "path": "input file, below the root of its source",
    "url": "address, where known",
    "snapshot": "crawl or release, where known",
    "domain": "subject or site, where known",
    "license": "license, where known",
    "lang": "language as declared by the publisher",
    "meta": "every other field of the record, as JSON",
    "epochs": "how often the document is to be read",
    "phase": "its part of the curriculum",
    "tokens": "ids of the tokens",
}
#: Croissant's types by those of Arrow.
_DATA_TYPES = {"string": "sc:Text", "bool": "sc:Boolean", "float": "sc:Float", "double": "sc:Float"}


@dataclass(frozen=True, slots=True)
class About:
    """What a card tells of a run: its name, the kept, the rejected and the quarantined, and the reasons' counts."""

    name: str
    run: str
    counts: Mapping[str, Any]  # kept, rejected, quarantined, reasons: {reason: {documents, alone, ...}}
    reasons: Sequence[tuple[str, str, str]]  # reason, rule in words, citation


def beside(about: About, manifest: Mapping[str, Any], suffix: str) -> dict[str, bytes]:
    """README.md, croissant.json and SHA256SUMS, by name."""
    sums = "".join(f"{f['sha256']}  {f['name']}\n" for f in [*manifest["files"], *manifest.get("beside", ())])
    return {
        "README.md": card(about, manifest, suffix).encode(),
        "croissant.json": (
            json.dumps(croissant(about, manifest, suffix), indent=2, ensure_ascii=False) + "\n"
        ).encode(),
        "SHA256SUMS": sums.encode(),
    }


def card(about: About, manifest: Mapping[str, Any], suffix: str) -> str:
    """The dataset card: Markdown with the YAML header that Hugging Face reads."""
    total = manifest["total"]
    header = {
        "pretty_name": about.name,
        "license": "other",
        "license_name": "mixed",
        "language": _languages(manifest["counts"]["lang"]),
        "size_categories": [next(name for limit, name in _SIZES if total["documents"] >= limit)],
        "task_categories": ["text-generation"],
        "tags": ["tamis"],
        "configs": [{"config_name": "default", "data_files": f"*{suffix}"}] if _readable(manifest) else [],
    }
    header = {name: value for name, value in header.items() if value != []}
    parts = [
        f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---\n",
        f"# {about.name}\n",
        (
            f"{count(total['documents'])} documents, {size(total['text_bytes'])} of text{_tokens(total)} in "
            f"{count(len(manifest['files']))} "
            f"{'file' if len(manifest['files']) == 1 else 'files'}, curated by tamis (run `{about.run}`).\n"
        ),
        _funnel(about),
        _table("Source", manifest["counts"]["source"], total["documents"]),
        _table("License", manifest["counts"]["license"], total["documents"]),
        _table("Declared language", manifest["counts"]["lang"], total["documents"]),
        loading(manifest),
        "## Columns\n\n| column | meaning |\n|---|---|\n"
        + "".join(f"| `{c['name']}` | {_meaning(c)} |\n" for c in manifest["schema"]),
        "`manifest.json` lists every file with its rows, bytes and SHA-256; check them with `sha256sum -c SHA256SUMS`.\n",
    ]
    return "\n".join(part for part in parts if part)


def _readable(manifest: Mapping[str, Any]) -> bool:
    """Whether Hugging Face's library reads the files as they are."""
    return manifest["kind"] in HUGGING_FACE


def _tokens(total: Mapping[str, Any]) -> str:
    return f", {count(total['tokens'])} tokens" if "tokens" in total else ""


def _meaning(column: Mapping[str, Any]) -> str:
    """What a column holds: one of the document's own, or a measured one."""
    return _COLUMNS.get(column["name"], f"measured ({column['type']})")


def _languages(declared: Mapping[str, int] | None) -> list[str]:
    """The primary language subtags among declared languages: en-us -> en."""
    codes = {code.partition("-")[0].lower() for code in declared or ()}
    return sorted(code for code in codes if code.isascii() and code.isalpha() and len(code) in (2, 3))


def _funnel(about: About) -> str:
    counts = about.counts
    judged = counts["kept"] + counts["rejected"]
    text = (
        "## How it was chosen\n\n"
        f"Of {count(judged)} documents {count(counts['kept'])} ({share(counts['kept'], judged)}) passed every rule; "
        f"{count(counts['quarantined'])} more could not be measured and were set aside.\n"
    )
    if about.reasons:
        text += "\n| reason | rule | documents against which it holds | for this reason alone | source of the rule |\n"
        text += "|---|---|---:|---:|---|\n"
    for reason, rule, cite in about.reasons:
        found = counts["reasons"].get(reason, {"documents": 0, "alone": 0})
        cells = (_cell(reason), _cell(rule), count(found["documents"]), count(found["alone"]), _cell(cite))
        text += f"| {' | '.join(cells)} |\n"
    return text


def _table(title: str, counts: Mapping[str, int] | None, documents: int) -> str:
    if counts is None:
        return f"## {title}\n\nToo many different values to list here.\n"
    shown = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN])
    rows = "".join(f"| {_cell(v) or 'not stated'} | {count(n)} | {share(n, documents)} |\n" for v, n in shown.items())
    rest = documents - sum(shown.values())
    more = f"| others | {count(rest)} | {share(rest, documents)} |\n" if rest > 0 else ""
    return f"## {title}\n\n| value | documents | share |\n|---|---:|---:|\n{rows}{more}" if shown else ""


def _cell(text: str) -> str:
    """Text of the corpus or of a rule file inside a Markdown table: one line, nothing that Markdown or HTML acts on."""
    plain = "".join(c if c.isprintable() else " " for c in text)[:200]
    for mark, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;"), ("`", "&#96;"), ("[", "&#91;")):
        plain = plain.replace(mark, name)
    return plain


_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "includes": "cr:includes",
    "recordSet": "cr:recordSet",
    "repeated": "cr:repeated",
    "source": "cr:source",
}


def croissant(about: About, manifest: Mapping[str, Any], suffix: str) -> dict[str, Any]:
    """Croissant 1.0 metadata: every file with its checksum, and the columns of formats that are tables."""
    kind = MEDIA.get(manifest["kind"], "application/octet-stream")
    files = [
        {
            "@type": "cr:FileObject",
            "@id": f["name"],
            "name": f["name"],
            "contentUrl": f["name"],
            "contentSize": f"{f['bytes']} B",
            "encodingFormat": kind,
            "sha256": f["sha256"],
        }
        for f in manifest["files"]
    ]
    every = {"@type": "cr:FileSet", "@id": "data", "name": "data", "encodingFormat": kind, "includes": f"*{suffix}"}
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"documents/{c['name']}",
            "name": c["name"],
            "description": _meaning(c),
            **_data_type(c["type"]),
            "source": {"fileSet": {"@id": "data"}, "extract": {"column": c["name"]}},
        }
        for c in manifest["schema"]
    ]
    sets = [{"@type": "cr:RecordSet", "@id": "documents", "name": "documents", "field": fields}]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": about.name,
        "description": f"{manifest['total']['documents']} documents curated by tamis, run {about.run}.",
        "version": manifest["key"],
        "distribution": [*files, every],
        **({"recordSet": sets} if manifest["kind"] in _TABLES else {}),
    }


def _data_type(arrow: str) -> dict[str, Any]:
    """Croissant's type of an Arrow type; lists are said to repeat."""
    inner = re.sub(r"^list<\w+: (\w+)>$", r"\1", arrow)
    found = {"dataType": _DATA_TYPES.get(inner, "sc:Integer" if "int" in inner else "sc:Text")}
    return found | ({"repeated": True} if inner != arrow else {})
