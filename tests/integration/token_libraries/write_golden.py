"""Writes the golden files of the token formats with the libraries that the formats are of.

Run where they are installed: `write_golden.py DOCUMENTS.json FOLDER`.
"""

import json
import sys
from pathlib import Path

import numpy as np
import stubs  # noqa: F401 - before streaming
import torch
from litdata.streaming.item_loader import TokensLoader
from litdata.streaming.writer import BinaryWriter
from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder
from streaming import MDSWriter

documents = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
folder = Path(sys.argv[2])
for name, narrow in (("narrow", True), ("wide", False)):
    ids = [np.array(d["ids"][name], np.int64) for d in documents]

    chunks = BinaryWriter(str(folder / f"litdata-{name}"), chunk_bytes=1 << 20, item_loader=TokensLoader())
    for number, found in enumerate(ids):
        chunks[number] = torch.from_numpy(found).to(torch.uint16 if narrow else torch.int32)
    chunks.done()
    chunks.merge(1)

    kind = "uint16" if narrow else "uint32"
    columns = {"doc_id": "str", "tokens": f"ndarray:{kind}", "text": "str", "epochs": "json"}
    with MDSWriter(columns=columns, out=str(folder / f"mds-{name}"), hashes=["sha256"], size_limit=None) as shards:
        for d, found in zip(documents, ids, strict=True):
            shards.write({**{n: d[n] for n in ("doc_id", "text", "epochs")}, "tokens": found.astype(kind)})

    place = folder / f"megatron-{name}"
    place.mkdir(parents=True)
    builder = IndexedDatasetBuilder(str(place / "part.bin"), dtype=np.uint16 if narrow else np.int32)
    for found in ids:
        builder.add_document(torch.from_numpy(found), [len(found)])
    builder.finalize(str(place / "part.idx"))
