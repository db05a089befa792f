"""What the documents of a run share with a panel: measured once, and read off for every arm by its rows."""

from pathlib import Path

import numpy as np
import pytest
from panel_files import byte_tokenizer, write_texts

from pipelines.ablation.contamination import audit
from pipelines.ablation.panel import build_panel
from pipelines.engine_local import LocalEngine
from pipelines.execute import Execution
from pipelines.gather import gather
from pipelines.plan import plan
from pipelines.progress import NullWatch
from pipelines.run import Options
from pipelines.spec import Limits, from_data
from pipelines.store import Store
from trainer.panel import texts

STORY = "Once upon a time there was a small sieve that let the fine flour through and kept all of the bran."
MANUAL = "Turn the crank slowly, then read the scale twice before you write the number into the ledger of the mill."
SHORT = "A sieve is a drum with a bottom of woven horsehair."
TINY = "Flour, ground."
PANEL = {
    "books": [STORY, "Nobody ever wrote this sentence into any training corpus, or so the author of it dearly hopes."]
}
PANEL |= {"manuals": [MANUAL, SHORT, TINY]}
CORPUS = [
    "Nothing to see here, only other words about nothing in particular that nobody holds out for measuring anything.",
    f"He began to read.   {STORY.upper()}   Then the light went out.",
    f"{STORY} {MANUAL}",
    f"I once read: {SHORT}",
    "flour -- GROUND",
    " ".join(MANUAL.split()[:12]),  # one word too few
]


class Run:
    """A corpus, measured, with a panel; five documents in two shards."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.open(folder / "store")
        write_texts(folder / "raw/a.jsonl", CORPUS[:2])
        write_texts(folder / "raw/b.jsonl", CORPUS[2:])
        for domain, some in PANEL.items():
            write_texts(folder / f"clean/{domain}/eval.jsonl", some)
        self.engine = LocalEngine(1)
        one = lambda: self.engine  # noqa: E731 - what is asked for an engine
        paths = [str(folder / "raw/a.jsonl"), str(folder / "raw/b.jsonl")]
        shards = [s for path in paths for s in gather(self.store, [path], one, NullWatch()).shards]
        source = {"kind": "jsonl", "path": str(folder / "raw/*.jsonl")}
        self.plan = plan(from_data({"name": "corpus", "source": source, "measure": {"clean": {"kind": "normalize"}}}))
        self.execution = Execution(self.store, shards, Limits(), one, NullWatch())
        for phase in self.plan.phases:
            self.execution.phase(phase)
        self.panel = build_panel(
            self.store,
            [str(folder / "clean/*/eval.jsonl")],
            tokenizer=byte_tokenizer(self.store, folder),
            seed=1,
            options=Options("local", 1),
            watch=NullWatch(),
        )

    def audit(self, **changes):
        return audit(self.execution, self.plan, self.panel, self.store, NullWatch(), **changes)

    def names(self, hit_D):
        known = texts(self.store.local(self.panel.path))["text"].to_pylist()
        return {text for text, hit in zip(known, hit_D, strict=True) if hit}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = Run(tmp_path_factory.mktemp("audit"))
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def hits(run):
    return run.audit()


@pytest.mark.parametrize(
    ("rows", "documents", "found"),
    [
        ([0], 0, set()),
        ([1], 1, {STORY}),
        ([1, 2, 1], 2, {STORY, MANUAL}),
        ([3], 1, {SHORT}),
        ([4], 1, {TINY}),  # a copy of all of it, which is too short to be looked for word by word
        ([5], 0, set()),
        ([0, 1, 2, 3, 4, 5], 4, {STORY, MANUAL, SHORT, TINY}),
        ([], 0, set()),
    ],
)
def test_an_arm_has_the_hits_of_its_own_documents(run, hits, rows, documents, found):
    count, hit_D = hits.of(np.array(rows, np.int64))

    assert (count, run.names(hit_D)) == (documents, found)


def test_what_a_report_says_of_an_arm(run, hits):
    facts = hits.facts(np.arange(len(CORPUS)), examples=2)

    examples = facts.pop("examples")
    assert facts == {
        "documents_hit": 4,
        "panel_documents_hit": 4,
        "panel_documents": 5,
        "panel_documents_hit_by_domain": {"books": 1, "manuals": 3},
        "near_duplicates": 1,
        "unfindable_panel_documents": 1,
        "ngram": 13,
        "near_jaccard": 0.8,
    }
    assert [(e["domain"], e["ngrams"]) for e in examples] == [("books", 9), ("manuals", 8)]
    assert examples[0]["passage"] == "once upon a time there was a small sieve that let the fine"


def test_an_audit_is_measured_once(run, hits):
    before = sorted(run.store.list("steps"))

    again = run.audit()

    assert again.pairs.equals(hits.pairs)
    assert sorted(run.store.list("steps")) == before


def test_another_text_of_the_run_is_audited_apart(run, hits):
    other = run.audit(text="text")

    assert other.pairs.equals(hits.pairs)
    assert len({path.split("/")[1] for path in run.store.list("steps") if "/contamination-" in path}) == 2
