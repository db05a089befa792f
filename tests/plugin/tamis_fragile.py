"""A stage of another distribution, found through the entry points of `tamis.stages`; breaks on request."""

import os
import signal
from typing import ClassVar, Literal

import pyarrow as pa

from stages.base import Columns, Kernel, RowStage, column


class Fragile(RowStage):
    """Counts characters, and dies, raises, hangs or eats memory where the text says so."""

    kind: Literal["fragile"] = "fragile"
    writes: ClassVar = pa.schema([column("chars", pa.int64(), "chars")])

    def open(self) -> Kernel:
        """A kernel that trusts its input too much."""

        def kernel(batch: pa.RecordBatch) -> Columns:
            texts = batch[self.text].to_pylist()
            for text in texts:
                if "DIE-NOW" in text:
                    os.kill(os.getpid(), signal.SIGKILL)
                if "RAISE-NOW" in text:
                    raise ZeroDivisionError(text[:20])
                if "EAT-NOW" in text:
                    bytearray(40_000_000_000)
                while "HANG-NOW" in text:
                    pass
            return {"chars": pa.array([len(t) for t in texts], pa.int64())}

        return kernel
