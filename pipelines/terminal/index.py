"""What came of an add, the twins of documents, what was taken down, and what an index holds."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from pipelines.quantities import count, share, size, value
from pipelines.terminal.parts import KEPT, REJECTED, SOFT, plain, table


def show_added(page: Console, done: Mapping[str, Any]) -> None:
    """How many documents went into an index, and how many were there."""
    page.print(Text.assemble(plain(done["index"], "bold"), (f"  {done['backend']}, state {done['snapshot']}", SOFT)))
    facts = [f"{count(done['added'])} documents of {done['corpus']} added"]
    facts += [f"{count(done['known'])} known already"] if done["known"] else []
    facts += [f"{count(done['taken_down'])} left out, because they were taken down"] if done["taken_down"] else []
    page.print(plain(", ".join(facts), KEPT if done["added"] else SOFT))


def show_asked(page: Console, document: Mapping[str, Any]) -> None:
    """One document that was asked about, and its twins."""
    place = f"{document['path']}:{document['ordinal']}"
    if "malformed" in document:
        page.print(plain(f"{place}  is no document: {document['malformed']}", REJECTED), soft_wrap=True)
        return
    name = f"{place} {document['id']}" if document.get("id") else place
    if not document["matches"]:
        page.print(
            Text.assemble(plain(name), ("  no twin" if document["sketched"] else "  no words", SOFT)), soft_wrap=True
        )
    for twin in document["matches"]:
        page.print(Text.assemble(plain(name), "  ", _twin(twin)), soft_wrap=True)


def show_counts(page: Console, counts: Mapping[str, Any]) -> None:
    """How many of the documents have a twin."""
    matched, documents = counts["matched"], counts["documents"]
    text = f"{count(matched)} of {count(documents)} documents ({share(matched, documents)}) have a twin in {counts['index']}"
    rest = f"; {count(counts['malformed'])} records are no documents" if counts["malformed"] else ""
    page.print(plain(text + rest, "bold"))


def show_removed(page: Console, done: Mapping[str, Any]) -> None:
    """What was taken down."""
    for entry in done["removed"]:
        page.print(
            plain(" ".join(str(entry[n]) for n in ("doc_id", "corpus", "source", "path") if entry[n])), soft_wrap=True
        )
    gone = f"{count(len(done['removed']))} documents taken down; no query names them and no add brings them back"
    page.print(plain(gone if done["removed"] else "they were taken down before", REJECTED if done["removed"] else SOFT))


def show_info(page: Console, info: Mapping[str, Any]) -> None:
    """What an index holds, how it compares, and how probably it finds a twin."""
    configuration = info["configuration"]
    facts = table("", "")
    facts.show_header = False
    page.print(Text.assemble(plain(info["index"], "bold"), (f"  {info['backend']}, state {info['snapshot']}", SOFT)))
    settings = ", ".join(f"{n} {value(v)}" for n, v in sorted(configuration["sketch"]["parameters"].items()))
    for name, shown in (
        ("documents", count(info["documents"])),
        ("taken down", count(info["taken_down"])),
        ("size", size(info["bytes"]) if info.get("bytes") is not None else "–"),
        ("segments", value(info.get("segments"))),
        ("bands", f"{configuration['bands']} of {configuration['rows']} rows"),
        ("sketches", settings),
        *_rates(info),
    ):
        facts.add_row(Text(name, SOFT), plain(shown))
    page.print(facts)
    page.print(_probabilities(info["candidate_probability"]))
    page.print(_adds(info["adds"]))


def _rates(info: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a Bloom filter says of its own errors."""
    if "false_positive_rate" not in info:
        return []
    rates = info["false_positive_rate"]
    measured = "–" if rates["measured"] is None else f"{rates['measured']:.2g} ({count(rates['probes'])} probes)"
    return [("false positives", f"{rates['nominal']:.2g} at capacity {count(info['capacity'])}, measured {measured}")]


def _probabilities(found: Mapping[str, float]) -> Any:
    made = table("Jaccard", *(f">{s}" for s in found))
    made.add_row(Text("found", SOFT), *(share(p, 1) for p in found.values()))
    return made


def _adds(adds: Sequence[Mapping[str, Any]]) -> Any:
    made = table("corpus", "run", ">documents added")
    for entry in adds:
        made.add_row(plain(entry["corpus"]), plain(entry["run"]), count(entry["documents"]))
    return made


def _twin(twin: Mapping[str, Any]) -> Text:
    if twin["doc_id"] is None:
        return Text("was seen before", REJECTED)
    place = " ".join(str(twin[n]) for n in ("source", "path", "url") if twin[n])
    name = f"{twin['doc_id']}" + (f" ({twin['id']})" if twin["id"] else "")
    return Text.assemble(
        (f"{twin['jaccard']:.3f} ", REJECTED), plain(f"{name} in {twin['corpus']}: "), plain(place, SOFT)
    )
