"""The run in one or two sentences."""

from typing import Any

from pipelines.quantities import count, share, size


def headline(report: dict[str, Any]) -> list[str]:
    """What went in and what came out; what was the main reason; what was set aside."""
    total = report["total"]
    into, out = total["documents_in"], total["exported"]
    if not into:
        return ["No documents went in."]
    known = total.get("tokens_exported")
    tokens = "" if known is None else f", {count(known)} tokens"
    stayed = (
        f"Of {count(into)} documents, {count(out)} stayed ({share(out, into)}): "
        f"{size(total['bytes_exported'])} of text out of {size(total['bytes_in'])}{tokens}."
    )
    sentences = [stayed]
    reasons = sorted(report["reasons"], key=lambda r: (-r["documents"], r["reason"]))
    if total["rejected"] and reasons and reasons[0]["documents"]:
        most = reasons[0]
        sentences.append(
            f"The most frequent reason to reject was {most['reason']} "
            f"({count(most['documents'])} documents, {count(most['only'])} of them for this alone)."
        )
    if total["quarantined"]:
        sentences.append(f"{count(total['quarantined'])} could not be read or measured and were set aside.")
    return sentences
