"""What tests of panels are made of: a tokenizer of bytes alone, and files of several domains."""

import json
from collections.abc import Iterable
from pathlib import Path

from pipelines.artifacts import keep
from pipelines.store import Store
from stages.artifacts import Artifact
from stages.tokenization import FILE, KIND, bytes_alone

#: Of the tokenizer of bytes alone.
END_OF_TEXT, VOCABULARY = 0, 257


def byte_tokenizer(store: Store, folder: Path) -> Artifact:
    """A tokenizer with a token for each byte and nothing else."""
    path = folder / FILE
    path.write_text(bytes_alone(), encoding="utf-8")
    identity = {"end_of_text": END_OF_TEXT, "vocabulary": VOCABULARY}
    return keep(store, "bytes", KIND, {FILE: path}, identity=identity, card={})


def write_texts(path: Path, texts: Iterable[str], **fields: str) -> Path:
    """A file of JSON lines, a text each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"text": text, **fields}, ensure_ascii=False) for text in texts]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path
