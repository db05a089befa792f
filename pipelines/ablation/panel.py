"""Building a panel: files of several domains become a fixed draw of held-out documents, tokenized once and kept in the store.

    panels/commits/{request}.json          what was asked for, and what it came to
    panels/{request}.{attempt}.parquet     the documents, see `trainer.panel`

The draw goes by the hash of the seed, the domain and the text, so neither names of files nor their order or format change it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.ablation.panel_draw import Candidates, Held
from pipelines.commit import Attempt, Record, committed
from pipelines.engine import Engine
from pipelines.file_kinds import sources_at
from pipelines.gather import gather
from pipelines.learning.session import engine_of
from pipelines.progress import Watch
from pipelines.run import Options
from pipelines.store import Store
from stages.artifacts import Artifact
from stages.errors import SpecError
from stages.fingerprint import key
from stages.tokenization import Encoder, Facts, opened
from trainer.panel import Panel, write

FOLDER = "panels"
VERSION = 1
#: What each domain weighs where nobody says otherwise.
BYTES_PER_DOMAIN = 300_000


@dataclass(frozen=True, slots=True)
class PanelRecord:
    """A panel in the store. `tokenizer` is the artifact's id, `vocabulary` its entries; `shares` has `domain`, `documents`, `bytes` and `tokens` of each domain."""

    key: str
    path: str
    tokenizer: str
    vocabulary: int
    shares: tuple[Mapping[str, Any], ...]

    @property
    def domains(self) -> tuple[str, ...]:
        """The names of the domains, sorted."""
        return tuple(share["domain"] for share in self.shares)

    @property
    def documents(self) -> int:
        """Documents of all domains."""
        return sum(share["documents"] for share in self.shares)

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of all documents."""
        return sum(share["bytes"] for share in self.shares)

    def open(self, store: Store) -> Panel:
        """The panel itself.

        Raises:
            StorageError: its file is missing or damaged.
        """
        return Panel.open(store.local(self.path))


def build_panel(
    store: Store,
    paths: Sequence[str],
    *,
    tokenizer: Artifact,
    bytes_per_domain: int = BYTES_PER_DOMAIN,
    seed: int,
    options: Options,
    watch: Watch,
) -> PanelRecord:
    """The panel of files, folders or globs; made once for equal content, tokenizer, bytes and seed.

    A document's domain is its record's field `domain`, else the name of its file's folder. Of each domain so many
    documents are drawn that their bytes come nearest to `bytes_per_domain`, or all where there are fewer; copies count once.

    Raises:
        SpecError: no path is given, or no byte of a domain is wanted.
        DataError: a path matches nothing, or a folder or domain has no text.
        StorageError: the store cannot be written.
    """
    if not paths:
        raise SpecError("a panel needs files of held-out text, and none is named; give --panel PATH...")
    if bytes_per_domain < 1:
        raise SpecError(f"a panel cannot have {bytes_per_domain} bytes of each domain; ask for some hundred thousand")
    with engine_of(options, watch) as engine:
        held = [_held(store, path, engine, watch) for path in paths]
    request = key(
        {
            "version": VERSION,
            "tokenizer": tokenizer.key,
            "bytes_per_domain": bytes_per_domain,
            "seed": seed,
            "content": sorted([sorted(s.digest for s in one.shards), sorted(one.folders.items())] for one in held),
        }
    )
    record = committed(store, FOLDER, request)
    if record is None:
        candidates = Candidates.of(store, held, watch)
        drawn = candidates.documents(store, candidates.drawn(bytes_per_domain, seed, watch))
        record = _kept(store, request, tokenizer, _tokenized(store, tokenizer, drawn))
    path = record["files"][0]["path"]
    return PanelRecord(record["key"], path, tokenizer.id, Facts.of(tokenizer).vocabulary, tuple(record["shares"]))


def _held(store: Store, path: str, engine: Callable[[], Engine], watch: Watch) -> Held:
    folders: dict[str, str] = {}
    for _, table in sources_at("texts", path):
        names = [PurePosixPath(uri).parent.name for uri in table["uri"].to_pylist()]
        folders |= dict(zip(table["path"].to_pylist(), names, strict=True))
    gathered = gather(store, [path], engine, watch)
    if gathered.malformed:
        watch.say(f"{gathered.malformed:,} records at {path!r} are no documents and are left out of the panel")
    return Held(gathered.shards, folders)


def _tokenized(store: Store, tokenizer: Artifact, documents: pa.Table) -> pa.Table:
    """The documents with the tokens of their own text, without any mark of begin or end."""
    encode = Encoder(opened(store, tokenizer))
    lengths, ids = encode(documents["text"].combine_chunks())
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return documents.append_column("ids", pa.ListArray.from_arrays(pa.array(ends), pa.array(ids)))


def _kept(store: Store, request: str, tokenizer: Artifact, documents: pa.Table) -> Record:
    """The commit record of the panel, whose key is of what it holds."""
    known = Facts.of(tokenizer)
    facts = {
        "key": key([VERSION, tokenizer.key, documents["doc_id"].to_pylist()]),
        "tokenizer": tokenizer.id,
        "vocabulary": known.vocabulary,
        "end_of_text": known.end_of_text,
        "domains": sorted(set(documents["domain"].to_pylist())),
    }
    with Attempt(store, FOLDER, request) as attempt:
        with attempt.file() as path:
            write(path, documents, facts)
            shares = Panel.open(path).shares()
        return attempt.commit({"key": facts["key"], "shares": shares})
