"""C4's line edits as a rewriting step: the text that is left of a document."""

from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from stages.base import Columns, Example, Kernel, RowStage, column
from stages.text.c4 import RULES, Definition


class C4Lines(RowStage):
    """The lines of a document that pass C4's line rules, without citations, joined by line feeds and stripped.

    The rules and `definition` are those of the stage `c4`; `end_marks: false` leaves out the rule that a line must
    end in an end mark, as FineWeb does. Lines that make C4 drop the whole page (lorem ipsum, curly brackets) are left
    out; whether the page stays is for a rule on `c4`. Empty where no line passes.

    Sources: C4 (JMLR 21/20-074, section 2.2), datatrove 0.10.1 `c4_filters`.
    """

    kind: Literal["c4_lines"] = "c4_lines"
    writes: ClassVar = pa.schema([column("text", pa.string(), "text", doc="what C4's line rules leave")])
    examples: ClassVar = (
        Example("Menu\nThis line stays[2].\n\nThis one too!", {"text": "This line stays.\nThis one too!"}),
        Example("Menu of the day\nThis stays.", {"text": "Menu of the day"}, fields={"end_marks": False}),
        Example("nothing", {"text": ""}),
    )

    definition: Definition = "datatrove"
    end_marks: bool = True

    def open(self) -> Kernel:
        """Compile or load the kernel."""
        from stages.kernels.arrow import buffers  # noqa: PLC0415 - numba is slow to import
        from stages.kernels.c4 import edit_lines  # noqa: PLC0415 - the same
        from stages.kernels.lexicon import lexicon  # noqa: PLC0415 - the same

        block, (least, edited, apostrophe) = lexicon(), RULES[self.definition]

        def kernel(batch: pa.RecordBatch) -> Columns:
            data, offsets = buffers(batch[self.text])
            _, text, ends = edit_lines(data, offsets, block, least, edited, apostrophe, True, not self.end_marks)  # noqa: FBT003 - numba takes positions
            places = pa.py_buffer(ends.astype(np.int32))  # the edits only shorten a batch, so 32 bits hold
            return {"text": pa.StringArray.from_buffers(len(ends) - 1, places, pa.py_buffer(text))}

        return kernel
