"""datatrove's four filters over texts, timed: run by the peer's own Python.

    PEER_PYTHON peer_filters.py TEXTS.jsonl

Reads one JSON string a line; prints the bytes and the CPU seconds of filtering, without start-up.
"""

import json
import sys
import time
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)

FILTERS = (
    GopherQualityFilter(),
    GopherRepetitionFilter(),
    C4QualityFilter(),
    C4QualityFilter(filter_no_terminal_punct=False),
    FineWebQualityFilter(),
)


def main() -> None:
    texts = [json.loads(line) for line in Path(sys.argv[1]).read_text("utf-8").splitlines()]
    for one in FILTERS:
        one.filter(Document(text="The cat sat with the dog. " * 20, id="warm"))
    began = time.process_time()
    for text in texts:
        for one in FILTERS:
            one.filter(Document(text=text, id="0"))
    seconds = time.process_time() - began
    print(json.dumps({"bytes": sum(len(t.encode()) for t in texts), "cpu_seconds": seconds}))


if __name__ == "__main__":
    main()
