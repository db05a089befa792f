"""How far tamis and datatrove 0.10 agree: keep or drop by profile, and Cohen's kappa by reason.

    python tests/benchmarks/bench_parity.py [--data DIR] [--peer PEER_PYTHON] [--documents 2000]

`--data` holds *.jsonl.gz files with `text` and `lang`; `--peer` is the Python of a virtual environment with
datatrove[processing]==0.10.1 and spacy, made when not given. Both sides see the original text of every document. datatrove names the first
rule that fails; ours is the first failing rule in the order of the rule file, which is datatrove's.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from corpora import raw
from peers import peer_python
from rich.console import Console
from rich.table import Table

from pipelines.rule_files import load
from stages.base import RowStage, measure
from stages.fingerprint import digest
from stages.rules import UseRules, bind
from stages.text.c4 import C4
from stages.text.repetition import Repetition
from stages.text.text_stats import TextStats
from stages.verdict import failing, judge

#: Our reason for each of datatrove's, by profile, in the order in which datatrove tries them.
REASONS: dict[str, dict[str, str]] = {
    "gopher-quality@datatrove-0.10": {
        "gopher_short_doc": "short-doc",
        "gopher_long_doc": "long-doc",
        "gopher_below_avg_threshold": "short-words",
        "gopher_above_avg_threshold": "long-words",
        "gopher_too_many_hashes": "hashes",
        "gopher_too_many_ellipsis": "ellipses",
        "gopher_too_many_bullets": "bullets",
        "gopher_too_many_end_ellipsis": "end-ellipses",
        "gopher_below_alpha_threshold": "few-alpha-words",
        "gopher_enough_stop_words": "few-stop-words",
    },
    "gopher-repetition@datatrove-0.10": {
        "empty": "empty",
        "dup_para_frac": "duplicate-paragraphs",
        "dup_para_char_frac": "duplicate-paragraph-chars",
        "dup_line_frac": "duplicate-lines",
        "dup_line_char_frac": "duplicate-line-chars",
        **{f"top_{n}_gram": f"top-{n}-gram" for n in (2, 3, 4)},
        **{f"duplicated_{n}_n_grams": f"duplicate-{n}-grams" for n in range(5, 11)},
    },
    "c4@datatrove-0.10": {
        "lorem_ipsum": "lorem-ipsum",
        "curly_bracket": "curly-bracket",
        "too_few_sentences": "few-sentences",
    },
    "fineweb@datatrove-0.10": {
        "empty": "empty",
        "line_punct_ratio": "few-end-marks",
        "short_line_ratio": "short-lines",
        "char_dup_ratio": "repeated-lines",
        "list_ratio": "list-like",
    },
}
REASONS["c4@fineweb"] = REASONS["c4@datatrove-0.10"]
LEAST_EQUAL = 0.995
ENGLISH = ("en", "eng", "english")
Reasons = list[str | None]


def english_texts(data: Path, documents: int) -> list[str]:
    """Texts declared English, and mails, which declare nothing: those of the smallest text hashes."""
    rows = []
    for path in sorted(data.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows += [json.loads(line) for line in lines]
    texts = [
        row["text"]
        for row in rows
        if (row["lang"] or "").lower().replace("_", "-").split("-")[0] in ENGLISH or row["source"] == "mail"
    ]
    return sorted(texts, key=lambda text: digest(text.encode()))[:documents]


def peer_reasons(peer: str, texts: Sequence[str], workers: int = 2) -> dict[str, Reasons]:
    """datatrove's reasons by profile, from its own Python."""
    script = str(Path(__file__).with_name("peer_decisions.py"))
    with tempfile.TemporaryDirectory() as folder:
        running = []
        for worker in range(workers):
            given, decided = Path(folder, f"{worker}.in"), Path(folder, f"{worker}.out")
            given.write_text("".join(json.dumps(t) + "\n" for t in texts[worker::workers]), encoding="utf-8")
            running.append((subprocess.Popen([peer, script, str(given), str(decided)]), decided))
        parts = []
        for process, decided in running:
            if process.wait():
                sys.exit(f"the peer failed with exit status {process.returncode}; see its output above")
            parts.append([json.loads(line) for line in decided.read_text("utf-8").splitlines()])
    rows = [parts[i % workers][i // workers] for i in range(len(texts))]
    return {profile: [row[profile] for row in rows] for profile in REASONS}


def our_reasons(texts: Sequence[str]) -> dict[str, Reasons]:
    """Our first failing reasons by profile."""
    steps: dict[str, RowStage] = {"text_stats": TextStats(), "repetition": Repetition(), "c4": C4()}
    batch = pa.record_batch({"text": pa.array(texts, pa.string())})
    columns: dict[str, pa.Array] = {}
    for name, stage in steps.items():
        answer = measure(stage, stage.open(), batch)
        columns |= {f"{name}.{c}": answer.column(i) for i, c in enumerate(answer.schema.names)}
    table = pa.table(columns)
    fields = {field.name: field for field in table.schema}
    found: dict[str, Reasons] = {}
    for profile in REASONS:
        policy = bind([UseRules(rules=profile)], fields, steps, "text", load)
        failed = failing(judge(policy.plain, table, {}))
        names = [reason.partition("/")[2] for reason in policy.reasons]
        found[profile] = [names[row.argmax()] if row.any() else None for row in failed.T]
    return found


def kappa(ours: Sequence[bool], theirs: Sequence[bool]) -> float | None:
    """Cohen's kappa of two raters; None where chance alone agrees fully (neither or both always say yes)."""
    n = len(ours)
    observed = sum(a == b for a, b in zip(ours, theirs, strict=True)) / n
    p, q = sum(ours) / n, sum(theirs) / n
    chance = p * q + (1 - p) * (1 - q)
    return (observed - chance) / (1 - chance) if chance < 1 else None


def agreement(
    ours: dict[str, Reasons], theirs: dict[str, Reasons]
) -> Iterator[tuple[str, str, int, int, float, float | None]]:
    """For each profile, then each of its reasons: documents dropped by us and them, share of equal decisions, kappa."""
    for profile, names in REASONS.items():
        mine = ours[profile]
        other = [None if reason is None else names[reason] for reason in theirs[profile]]
        for reason in ("", *names.values()):
            a = [r is not None if not reason else r == reason for r in mine]
            b = [r is not None if not reason else r == reason for r in other]
            equal = sum(x == y for x, y in zip(a, b, strict=True)) / len(a)
            yield profile, reason, sum(a), sum(b), equal, kappa(a, b)


def main() -> None:
    """Print the table, and the documents on which decisions differ."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", type=Path, default=raw())
    arguments.add_argument("--peer")
    arguments.add_argument("--documents", type=int, default=2000)
    given = arguments.parse_args()
    texts = english_texts(given.data, given.documents)
    ours, theirs = our_reasons(texts), peer_reasons(given.peer or str(peer_python("datatrove")), texts)
    table = Table(
        title=f"tamis and datatrove 0.10.1 on {len(texts):,} English documents, {sum(map(len, texts)) / 1e6:.1f} M characters"
    )
    for column in ("profile", "reason", "we drop", "they drop", "equal", "kappa"):
        table.add_column(column, justify="left" if column in ("profile", "reason") else "right")
    for profile, reason, mine, other, equal, value in agreement(ours, theirs):
        shown = "" if value is None else f"{value:.4f}"
        if not reason:
            figure = {"what": f"equal decisions, {profile}", "ours": round(100 * equal, 2), "unit": "%"}
            print(json.dumps(figure | {"bar": ">= 99.5", "holds": equal >= LEAST_EQUAL}))
        table.add_row("" if reason else profile, reason or "any", f"{mine:,}", f"{other:,}", f"{equal:.2%}", shown)
    console = Console(width=120)
    console.print(table)
    for profile, names in REASONS.items():
        pairs = zip(ours[profile], theirs[profile], strict=True)
        different = Counter((a, None if b is None else names[b]) for a, b in pairs if (a is None) != (b is None))
        for (mine, other), count in different.most_common():
            console.print(f"{profile}: {count} x we say {mine or 'keep'}, they say {other or 'keep'}")


if __name__ == "__main__":
    main()
