"""Static embeddings against MiniLM on the same 2,000 documents: speed on one core, and which documents each would remove.

The rule is SemDeDup's with one cell, so that nothing but the vectors differs. Agreement is told at the same epsilon, and
where the static model removes as many documents as MiniLM does, because its vectors lie closer together.
"""

import itertools
import json
import time
from typing import Any

import numpy as np
import pyarrow as pa
from corpora import documents
from numpy.typing import NDArray

from stages.base import measure
from stages.corpus.semantic_duplicates import SemanticDuplicates
from stages.embeddings.models import MINILM, STATIC
from stages.flow import MemoryFlow
from stages.text.embedding import Embedding

DOCUMENTS = 2_000
EPSILONS = (0.01, 0.05, 0.1)
LEAST_RATIO = 50


def main() -> None:
    """Print the rates, and the overlap of the two decisions."""
    texts = [d["text"] for d in itertools.islice(documents(), DOCUMENTS)]
    vectors, rates = {}, {}
    for model in (STATIC, MINILM):
        vectors[model], rates[model] = encoded(model, texts)
        print(f"{model}: {rates[model]:,.1f} documents/s of CPU time")
    ratio = rates[STATIC] / rates[MINILM]
    show(
        "static embeddings",
        rates[STATIC],
        "documents/s/core",
        theirs=rates[MINILM],
        peer="MiniLM",
        bar=f"ratio >= {LEAST_RATIO}",
        holds=ratio >= LEAST_RATIO,
    )
    cosines = {model: compared(table) for model, table in vectors.items()}
    for epsilon in EPSILONS:
        static, minilm = (cosines[m] > 1 - epsilon for m in (STATIC, MINILM))
        overlap(f"{epsilon}", static, minilm)
        bound = np.sort(cosines[STATIC])[::-1][np.count_nonzero(minilm)]
        overlap(f"{epsilon}, as many by static", cosines[STATIC] > bound, minilm)


def encoded(model: str, texts: list[str]) -> tuple[pa.Table, float]:
    """A shard of vectors, and the documents embedded in a second of CPU time, the model loaded and warm."""
    stage = Embedding(model=model, device="cpu")
    kernel = stage.open()
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())})
    measure(stage, kernel, batch.slice(0, 20))
    start = time.process_time()
    answer = measure(stage, kernel, batch)
    seconds = time.process_time() - start
    ids = pa.array([f"{i:032x}" for i in range(len(texts))])
    table = pa.table({"doc_id": ids, "meaning.vector": answer["vector"], "meaning.tokens": answer["tokens"]})
    return table, len(texts) / seconds


def compared(table: pa.Table) -> NDArray[np.float64]:
    """Each document's largest cosine to an earlier one, 0 where there is none."""
    flow = MemoryFlow([table], partitions=1)
    start = time.process_time()
    SemanticDuplicates(of="meaning", clusters=1, seed=1).program(flow)
    print(f"compared {table.num_rows:,} documents in {time.process_time() - start:.2f} s of CPU time")
    cosines: NDArray[np.float64] = flow.answer()["cosine"].fill_null(0.0).to_numpy()
    return cosines


def overlap(where: str, static: NDArray[np.bool_], minilm: NDArray[np.bool_]) -> None:
    """Print the Jaccard index of the two sets removed, and the share of documents that are decided alike."""
    both, either = np.count_nonzero(static & minilm), np.count_nonzero(static | minilm)
    print(f"epsilon {where}: static removes {np.count_nonzero(static)}, MiniLM {np.count_nonzero(minilm)}, both {both}")
    show(f"removed by both / either, epsilon {where}", both / max(1, either), "1")
    show(f"decided alike, epsilon {where}", float(np.mean(static == minilm)), "1")


def show(what: str, ours: float, unit: str, **more: Any) -> None:
    """Print a figure as `run.py` reads it."""
    figures = {k: round(v, 4) if isinstance(v, float) else v for k, v in more.items()}
    print(json.dumps({"what": what, "ours": round(float(ours), 4), **figures, "unit": unit}, default=bool))


if __name__ == "__main__":
    main()
