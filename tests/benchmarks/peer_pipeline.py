"""datatrove's own pipeline of the same filters, from compressed files to compressed files: run by the peer's Python.

    PEER_PYTHON peer_pipeline.py FOLDER WORK WORKERS

Each filter sees the original text: C4 edits the text that it keeps, so it comes last, once with and once without the
rule on end marks. Prints the wall-clock seconds without imports, as JSON on the last line.
"""

import json
import shutil
import sys
import time

from datatrove.data import Document
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers.jsonl import JsonlWriter


class EveryFilter(PipelineStep):
    """Asks every filter about the original text and notes what each says, as tamis does."""

    name = "every filter"

    def __init__(self):
        super().__init__()
        self.filters = (
            GopherQualityFilter(),
            GopherRepetitionFilter(),
            FineWebQualityFilter(),
            C4QualityFilter(),
            C4QualityFilter(filter_no_terminal_punct=False),
        )

    def run(self, data, rank=0, world_size=1):
        for document in data:
            answers = [one.filter(Document(text=document.text, id=document.id)) for one in self.filters]
            document.metadata["decisions"] = [a if isinstance(a, bool) else list(a) for a in answers]
            document.text = ""
            yield document


def main() -> None:
    folder, work, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    shutil.rmtree(work, ignore_errors=True)
    began = time.perf_counter()
    LocalPipelineExecutor(
        pipeline=[JsonlReader(folder, glob_pattern="*.jsonl.gz"), EveryFilter(), JsonlWriter(f"{work}/out")],
        workers=workers,
        tasks=4,
        logging_dir=f"{work}/logs",
    ).run()
    print(json.dumps({"seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
