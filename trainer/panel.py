"""A panel: held-out documents of several domains, tokenized once, on which every arm is measured.

One Parquet file, a row a document, sorted by domain and then by the draw that chose it. Its metadata say which tokenizer made
the tokens. A document's bytes are those of its text in UTF-8, which is what losses are divided by.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stages.errors import DataError, SpecError, StorageError

FORMAT = 1
#: Columns of a panel's file.
DOCUMENTS = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),  # 32 hex digits of the domain and the text
        pa.field("domain", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),  # where it was first read, for people
        pa.field("id", pa.string()),  # the user's own
        pa.field("text", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("ids", pa.list_(pa.uint32()), nullable=False),
    ]
)
_METADATA = b"tamis.panel"


@dataclass(frozen=True, slots=True)
class Panel:
    """D documents. `domain_D` counts into `domains`; document d has the tokens ids[offsets_D1[d] : offsets_D1[d + 1]].

    key: of the documents and the tokenizer, wherever the panel is kept; tokenizer: the artifact's id; vocabulary: its
    entries; end_of_text: the id that stands before every document.
    """

    key: str
    tokenizer: str
    vocabulary: int
    end_of_text: int
    domains: tuple[str, ...]
    doc_ids: tuple[str, ...]
    domain_D: NDArray[np.int64]
    bytes_D: NDArray[np.int64]
    ids: NDArray[np.uint32]
    offsets_D1: NDArray[np.int64]

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The panel in a file.

        Raises:
            StorageError: the file is missing, cut short, or no panel of this format.
        """
        try:
            metadata = pq.read_schema(path).metadata or {}
            facts = json.loads(metadata.get(_METADATA, b"{}"))
            if facts.get("format") != FORMAT:
                raise ValueError(f"it is not of format {FORMAT}")  # noqa: TRY301 - said as other files that are none
            table = pq.read_table(path, columns=["doc_id", "domain", "bytes", "ids"], use_threads=False)
            return cls._of(table, facts)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise StorageError(
                f"the panel {str(path)!r} cannot be read ({error}); delete the file and build the panel again",
                path=str(path),
            ) from error

    @classmethod
    def _of(cls, table: pa.Table, facts: Mapping[str, Any]) -> Self:
        domains = tuple(facts["domains"])
        number = {name: i for i, name in enumerate(domains)}
        ids = table["ids"].combine_chunks()
        lengths = np.asarray(ids.value_lengths(), np.int64)
        return cls(
            facts["key"],
            facts["tokenizer"],
            facts["vocabulary"],
            facts["end_of_text"],
            domains,
            tuple(table["doc_id"].to_pylist()),
            np.array([number[name] for name in table["domain"].to_pylist()], np.int64),
            table["bytes"].to_numpy().astype(np.int64),
            np.asarray(ids.flatten(), np.uint32),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        )

    @property
    def documents(self) -> int:
        """How many documents there are."""
        return len(self.bytes_D)

    @property
    def tokens(self) -> int:
        """Tokens of all documents; each is scored once."""
        return len(self.ids)

    def shares(self) -> list[dict[str, Any]]:
        """What each domain has: `domain`, `documents`, `bytes`, `tokens`."""
        tokens_D = np.diff(self.offsets_D1)
        return [
            {
                "domain": name,
                "documents": int((self.domain_D == i).sum()),
                "bytes": int(self.bytes_D[self.domain_D == i].sum()),
                "tokens": int(tokens_D[self.domain_D == i].sum()),
            }
            for i, name in enumerate(self.domains)
        ]

    def fits(self, *, tokenizer: str | None, vocabulary: int) -> None:
        """Make sure that a model or a token stream was made with the panel's tokenizer.

        A model may have more entries than its tokenizer, which many of transformers have, where the tokenizer is named.

        Raises:
            SpecError: it was made with another.
        """
        same = vocabulary == self.vocabulary if tokenizer is None else vocabulary >= self.vocabulary
        if not same or tokenizer not in {None, self.tokenizer}:
            theirs = f"{tokenizer or 'a tokenizer'} with {vocabulary:,} entries"
            raise SpecError(
                f"the panel was tokenized with {self.tokenizer} with {self.vocabulary:,} entries, but the model was trained on "
                f"tokens of {theirs}, so its losses would mean nothing; build the panel with the model's tokenizer, or name that where "
                "the model only has entries to spare",
                panel=self.key,
                tokenizer=tokenizer,
            )


def texts(path: str | Path) -> pa.Table:
    """`doc_id`, `domain` and `text` of a panel's documents, in the panel's order."""
    return pq.read_table(path, columns=["doc_id", "domain", "text"], use_threads=False)


def write(path: Path, documents: pa.Table, facts: Mapping[str, Any]) -> None:
    """Write a panel: rows of `DOCUMENTS`, and `key`, `tokenizer`, `vocabulary`, `end_of_text` and `domains` of it.

    Raises:
        DataError: it has no document, or a document without a token.
    """
    if not documents.num_rows:
        raise DataError("a panel needs documents, and there is none; name files with text")
    lengths = np.asarray(documents["ids"].combine_chunks().value_lengths())
    if not lengths.all():
        row = int(np.flatnonzero(lengths == 0)[0])
        raise DataError(
            f"the panel's document {documents['doc_id'][row].as_py()} has no token, so nothing of it can be scored; "
            "take it out of the panel"
        )
    metadata = {_METADATA: json.dumps({"format": FORMAT, **facts}, sort_keys=True).encode()}
    table = documents.select(DOCUMENTS.names).cast(DOCUMENTS).replace_schema_metadata(metadata)
    pq.write_table(table, path, compression="zstd", write_statistics=False)
