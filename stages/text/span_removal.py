"""The text without the spans that another step found."""

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc

from stages.base import Column, Columns, CorpusStage, Example, Kernel, RowStage, Stage, Step, column
from stages.errors import SpecError


class SpanRemoval(RowStage):
    """The text without the spans of the step `of`: repeated paragraphs, lines or passages.

    Spans are shrunk to whole characters and cut exactly; then the hole is closed. Of the white space on its two sides
    that with more newlines stays, so blank lines do not pile up and a whole line keeps its indentation. Where there is
    none, one space is left, unless a side is of a script that is written without. A text that begins or ends with a
    span begins or ends with what is left, without white space.

    The step `of` must have read the same text, or its spans would point elsewhere. Null where the text or the spans
    are: what finds spans gives some (or an empty list) for every text, so that is a quarantined document.
    """

    kind: Literal["span_removal"] = "span_removal"
    version: ClassVar = 2
    writes: ClassVar = pa.schema(
        [
            column("text", pa.string(), "text", doc="without the spans"),
            column("removed_bytes", pa.int64(), "bytes", better="lower", doc="of the text, in UTF-8"),
            column(
                "removed_fraction", pa.float64(), "1", better="lower", doc="of the bytes; null where there are none"
            ),
        ]
    )
    examples: ClassVar = (
        Example(
            {"text": "One two three", "paragraphs.spans": [{"begin": 4, "end": 8}]},
            {"text": "One three", "removed_bytes": 4, "removed_fraction": 4 / 13},
            {"of": "paragraphs"},
        ),
        Example(
            {"text": "猫\n\n犬\n\n猫\n", "paragraphs.spans": [{"begin": 10, "end": 14}]},
            {"text": "猫\n\n犬", "removed_bytes": 6},
            {"of": "paragraphs"},
        ),
        Example(
            {"text": "Use:\n    a = 1\n    b = 2\n", "paragraphs.spans": [{"begin": 5, "end": 15}]},
            {"text": "Use:\n    b = 2\n", "removed_bytes": 10},
            {"of": "paragraphs"},
        ),
        Example({"text": "kept", "paragraphs.spans": []}, {"text": "kept", "removed_bytes": 0}, {"of": "paragraphs"}),
    )

    of: Step
    text: Column = "text"

    def resolve(self, steps: Mapping[str, Stage]) -> Self:
        """The stage itself, once the step `of` is known to give spans of the same text."""
        other = steps[self.of]
        if not isinstance(other, RowStage | CorpusStage) or "spans" not in other.schema().names:
            raise SpecError(
                f"span_removal is of {self.of!r}, a step of kind {other.kind!r} that gives no spans; "
                "name a step such as paragraph_duplicates or substring_duplicates"
            )
        read = getattr(other, "text", None)
        if read != self.text:
            raise SpecError(
                f"span_removal of {self.of!r} cuts {self.text!r}, but that step found its spans in {read!r}; "
                "give both the same `text:`"
            )
        return self

    def reads(self) -> tuple[str, ...]:
        """The text and the spans."""
        return (self.text, f"{self.of}.spans")

    def open(self) -> Kernel:
        """Compile or load the kernel."""
        from stages.kernels.removal import without  # noqa: PLC0415 - numba is slow to import

        def kernel(batch: pa.RecordBatch) -> Columns:
            texts = batch[self.text]
            left = without(texts, batch[f"{self.of}.spans"])
            size = pc.binary_length(texts).cast(pa.int64())
            removed = pc.subtract(size, pc.binary_length(left).cast(pa.int64()))
            known = pc.if_else(pc.equal(size, 0), pa.scalar(None, pa.float64()), size.cast(pa.float64()))
            return {
                "text": left,
                "removed_bytes": removed,
                "removed_fraction": pc.divide(removed.cast(pa.float64()), known),
            }

        return kernel
