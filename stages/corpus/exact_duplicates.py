"""Clusters of documents with equal text."""

from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from stages.base import Column, Columns, CorpusStage, RowStage, column
from stages.text.digest import Digest, Form


class ExactDuplicates(CorpusStage):
    """Number of documents of the corpus with the same text, and the smallest `doc_id` among them.

    A document that nothing repeats is a cluster of one. With `form: letters`, texts count as the same
    when their letters and digits are (see `digest`). Which copy stays is the policy's decision
    (`one_of: copies.cluster`). Copies are told by 128-bit hashes: among 10 billion different documents
    the chance of one false pair is about 1e-19. Null where the text is null or has nothing to compare.

    Bound: one partition of (doc_id, 16 bytes) in memory; equal digests meet in one partition.
    """

    kind: Literal["exact_duplicates"] = "exact_duplicates"
    partition_by: ClassVar = "digest.value"
    writes: ClassVar = pa.schema(
        [
            column("cluster", pa.string(), "doc_id", doc="smallest doc_id of the documents with this text"),
            column("cluster_size", pa.int64(), "documents", better="lower", doc="documents with this text"),
        ]
    )

    text: Column = "text"
    form: Form = "exact"

    def companions(self) -> dict[str, RowStage]:
        """The digest of each text."""
        return {"digest": Digest(text=self.text, form=self.form)}

    def reads(self) -> tuple[str, ...]:
        """The companion's column."""
        return ("digest.value",)

    def relate(self, rows: pa.Table) -> Columns:
        """Cluster and cluster size of every row; rows come sorted by `doc_id`, so the first of a cluster names it."""
        digests = rows["digest.value"].combine_chunks()
        code_N = digests.dictionary_encode().indices.to_numpy()
        # Codes count up in order of first appearance, so a code is new where the running maximum grows.
        first_K = np.flatnonzero(np.diff(np.maximum.accumulate(code_N), prepend=-1))
        size_K = np.bincount(code_N, minlength=len(first_K))
        doc_ids = rows["doc_id"].combine_chunks()
        return {
            "cluster": doc_ids.take(pa.array(first_K[code_N], pa.int64())),
            "cluster_size": pa.array(size_K[code_N], pa.int64()),
        }
