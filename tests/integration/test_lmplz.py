"""Models beside lmplz's on real text. lmplz is built from kenlm's source distribution, which takes more than a minute."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import kenlm
import numpy as np
import pyarrow as pa
import pytest
from ngram_runs import parsed

from learners.ngram.settings import Settings
from pipelines.api import learn_ngram
from pipelines.learning.ngram import Learning
from pipelines.run import Options
from stages.ngrams.scoring import KenLM, opened, score

ROOT = Path(__file__).parents[2]
CLEAN = ROOT / "pipelines" / "samples" / "clean"
TOLERANCE = 1e-4

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.fixture(scope="session")
def lmplz(tmp_path_factory):
    sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
    try:
        from lmplz import PACKAGES, lmplz  # noqa: PLC0415 - the benchmarks' own
    finally:
        sys.path.pop(0)
    program = lmplz(tmp_path_factory.mktemp("lmplz"))
    if program is None:
        pytest.skip(f"lmplz cannot be built: install {PACKAGES}")
    return program


def documents(name):
    for path in sorted(CLEAN.glob(f"*/{name}.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from (json.loads(line)["text"] for line in lines)


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    """The clean sample as lmplz reads it: the lines of all documents."""
    path = tmp_path_factory.mktemp("text") / "train.txt"
    content = "".join(text if text.endswith("\n") else f"{text}\n" for text in documents("train") if text)
    path.write_text(content, encoding="utf-8", newline="\n")
    return path


def theirs(lmplz, text, order, prune, into):
    command = [lmplz, "-o", str(order), "--prune", *map(str, prune), "--skip_symbols", "-S", "1G", "--text", text]
    subprocess.run([*command, "--arpa", into], check=True, capture_output=True)
    return into


@pytest.mark.parametrize(
    ("order", "prune"),
    [(order, prune) for order in (2, 3, 4, 5) for prune in ((0,), (0, 1) if order == 2 else (0, 0, 1))],
)
def test_every_n_gram_and_every_sentence_has_the_probability_that_lmplz_gives(
    lmplz, text, store, tmp_path, order, prune
):
    reference = theirs(lmplz, text, order, prune, tmp_path / "theirs.arpa")
    learning = Learning([str(p) for p in sorted(CLEAN.glob("*/train.jsonl.gz"))], Settings(order, prune))

    artifact = learn_ngram("m", learning, store=store, options=Options("local", 2))

    path = artifact.path(store, "model.arpa")
    ours, wanted = parsed(path.read_bytes()), parsed(reference.read_bytes())
    assert list(ours) == list(wanted)
    assert np.abs(np.array(list(ours.values())) - np.array(list(wanted.values()))).max() <= TOLERANCE
    config = kenlm.Config()
    config.show_progress = False
    one, other = (kenlm.Model(str(p), config) for p in (path, reference))
    table = opened(artifact.path(store, "model.table"))
    lines = [line.encode() for text in documents("eval") for line in text.split("\n") if line][:5_000]
    found = -score(table, pa.array([b"%s\n" % line for line in lines], pa.binary()).cast(pa.string())).nats / np.log(10)
    for line, log in zip(lines, found, strict=True):
        wanted_log = other.score(line)
        assert one.score(line) == pytest.approx(wanted_log, abs=TOLERANCE)
        assert log == pytest.approx(wanted_log, abs=TOLERANCE)


def test_a_binary_of_kenlm_scores_as_its_arpa_file(lmplz, text, tmp_path):
    path, binary = theirs(lmplz, text, 3, (0, 0, 1), tmp_path / "m.arpa"), tmp_path / "m.binary"
    subprocess.run([lmplz.with_name("build_binary"), path, binary], check=True, capture_output=True)
    texts = pa.array([*list(documents("eval"))[:300], "", "\n", "<s> a"], pa.string())

    loaded = opened(binary)
    found, wanted = score(loaded, texts), score(opened(path), texts)

    assert isinstance(loaded, KenLM)
    assert found.nats == pytest.approx(wanted.nats, rel=1e-5, abs=1e-4)
    for name in ("tokens", "words", "unknown"):
        assert getattr(found, name).tolist() == getattr(wanted, name).tolist()
