"""Reads an export with the library that its format is of, and prints what it holds as JSON: `read.py KIND FOLDER`."""

import json
import sys
from itertools import pairwise
from pathlib import Path


def litdata(folder):
    """Blocks of five tokens, in order."""
    from litdata import StreamingDataset, TokensLoader  # noqa: PLC0415 - one library a run

    blocks = StreamingDataset(folder, item_loader=TokensLoader(block_size=5), shuffle=False)
    return [{"dtype": str(block.dtype), "ids": block.tolist()} for block in blocks]


def mds(folder):
    """Samples, in order."""
    import stubs  # noqa: F401, PLC0415 - before streaming
    from streaming import StreamingDataset  # noqa: PLC0415 - one library a run

    samples = StreamingDataset(local=folder, shuffle=False, batch_size=1, validate_hash="sha256")
    found = []
    for sample in samples:
        tokens = sample.pop("tokens")
        found.append(sample | {"dtype": tokens.dtype.name, "ids": tokens.tolist()})
    return found


def megatron(folder):
    """Documents of every pair of files, in order."""
    from megatron.core.datasets.indexed_dataset import IndexedDataset  # noqa: PLC0415 - one library a run

    found = []
    for path in sorted(Path(folder).glob("*.idx")):
        pair = IndexedDataset(str(path.with_suffix("")))
        ends = pair.document_indices.tolist()
        for begin, end in pairwise(ends):
            ids = [token for sequence in range(begin, end) for token in pair[sequence].tolist()]
            found.append({"dtype": pair.index.dtype.__name__, "ids": ids})
    return found


json.dump({"litdata": litdata, "mds": mds, "megatron": megatron}[sys.argv[1]](sys.argv[2]), sys.stdout)
