"""Compiling every kernel once, before work fans out, so that workers only load them from numba's cache."""

from collections.abc import Callable

import pyarrow as pa

_TEXT = "The cat sat, i.e. on U.S. mats... see http://a.example/x?y [1].\n\n- “Don't” {stop} ü 漢字 😀\nThe cat sat."


def compile_all(progress: Callable[[str, int, int], None] | None = None) -> None:
    """Compile or load every kernel; `progress(name, done, total)` is called after each.

    At most 20 s on a fresh machine, well under a second later.
    """
    from stages.text.c4 import C4  # noqa: PLC0415 - stages import kernels when they open
    from stages.text.repetition import Repetition  # noqa: PLC0415 - the same
    from stages.text.text_stats import TextStats  # noqa: PLC0415 - the same

    batch = pa.record_batch({"text": pa.array([_TEXT, ""])})
    stages = (TextStats(), Repetition(), C4())
    for done, stage in enumerate(stages, 1):
        stage.open()(batch)
        if progress is not None:
            progress(stage.kind, done, len(stages))
