"""A text as the ids of a tokenizer's tokens, which models are trained on."""

from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field

from stages.artifacts import PREFIX, find
from stages.base import Columns, Example, Files, Kernel, RowStage, column
from stages.errors import StorageError
from stages.tokenization import KIND, Encoder, Facts, bytes_alone, opened, parsed


class Tokens(RowStage):
    """The ids of a document's own tokens, and how many they are: what budgets count (`select: {count: tokens.count}`).

    `tokenizer` is `artifact:NAME`, as `tamis learn tokenizer` keeps it: a byte-level BPE that it learned (Sennrich et al.
    2016, arXiv:1508.07909; over bytes as in GPT-2), or any tokenizer.json. Nothing is added, cut off or padded, and no text
    gives a special token: `<|endoftext|>` in a text is the signs and letters that it is written with. What a byte-level
    tokenizer gives is decoded to the same text.

    Words of plain ASCII are merged by a kernel, and what stood between spaces before is looked up, where the tokenizer cuts
    texts by GPT-2's pattern and nothing else; the library `tokenizers` is asked for the rest, and for every text of other
    tokenizers. Ids are the library's in any case. Memory: about 150 MB and seven times the batch, and some 200 times the
    longest word that is not ASCII; with other tokenizers some 200 times the longest document.

    Raises:
        SpecError: there is no such artifact of kind `tokenizer`, or the library `tokenizers` is missing.
        StorageError: it is damaged.
    """

    kind: Literal["tokens"] = "tokens"
    pinned: ClassVar = ("found", "content", "end_of_text", "vocabulary")
    requires: ClassVar = ("tokenizers",)
    writes: ClassVar = pa.schema(
        [
            column("ids", pa.list_(pa.uint32()), "token", doc="of the document alone, without special tokens"),
            column("count", pa.int32(), "token", doc="how many ids"),
        ]
    )
    examples: ClassVar = (
        Example("", {"ids": [], "count": 0}, {"tokenizer": "artifact:bpe-32k"}),
        Example("né 猫", {"ids": [78, 128, 103, 221, 164, 235, 105], "count": 7}, {"tokenizer": "artifact:bpe-32k"}),
        Example("<|endoftext|>", {"count": 13}, {"tokenizer": "artifact:bpe-32k"}),
    )

    tokenizer: str = Field(min_length=1)
    #: The artifact that the planner found, `NAME-KEY`, its key, and what it says of itself.
    found: str | None = None
    content: str | None = None
    end_of_text: int | None = None
    vocabulary: int | None = None

    def parameters(self) -> dict[str, Any]:
        """Nothing: the tokenizer is an artifact."""
        return {}

    def artifacts(self) -> dict[str, str]:
        """The content of the tokenizer."""
        return {"tokenizer": self.content} if self.content else {}

    def located(self, files: Files) -> Self:
        """The stage with the tokenizer that its name means now."""
        artifact = find(files, self.tokenizer, KIND)
        facts = Facts.of(artifact)
        return self.model_copy(
            update={
                "found": artifact.id,
                "content": artifact.key,
                "end_of_text": facts.end_of_text,
                "vocabulary": facts.vocabulary,
            }
        )

    def open(self) -> Kernel:
        """The kernel of a tokenizer that has learned nothing, one token a byte, for a stage that no store located."""
        return self._kernel(Encoder(parsed(bytes_alone(), "of bytes")))

    def open_in(self, files: Files) -> Kernel:
        """Read the tokenizer and return the kernel."""
        if self.found is None:
            raise StorageError(
                f"the tokenizer {self.tokenizer!r} was not located in this store; plan the run with its store"
            )
        return self._kernel(Encoder(opened(files, find(files, PREFIX + self.found, KIND))))

    def _kernel(self, encode: Encoder) -> Kernel:
        def kernel(batch: pa.RecordBatch) -> Columns:
            lengths, ids = encode(batch[self.text])
            ends = np.zeros(len(lengths) + 1, np.int32)
            np.cumsum(lengths, out=ends[1:])
            return {
                "ids": pa.ListArray.from_arrays(pa.array(ends), pa.array(ids)),
                "count": pa.array(lengths, pa.int32()),
            }

        return kernel
