"""Exports of tokens loaded with LitData, MosaicML streaming and Megatron-Core, in an environment of their own.

They want NumPy and transformers older than this package's, and torchvision, of which there is no build for the torch here.
The environment sees the packages of this one where it has none of its own.
"""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from token_runs import corpus_at, exported, kept, ran, tokenizer_in

from pipelines.engine_local import LocalEngine
from stages.base import Sink
from stages.sinks.litdata import Litdata
from stages.sinks.mds import Mds
from stages.sinks.megatron import Megatron

pytestmark = pytest.mark.long

HERE = Path(__file__).parent / "token_libraries"
GOLDEN = Path(__file__).parents[1] / "unit" / "token_golden"
#: The libraries, and of what they need that which this environment has in another version or not at all.
PACKAGES = (
    "litdata==0.2.76",
    "lightning-utilities==0.15.3",
    "megatron-core==0.16.1",
    "mosaicml-streaming==0.13.0",
    "catalogue<3",
    "cramjam",
    "python-snappy<1",
    "zstd<2",
    "numpy==2.1.3",
    "transformers==4.57.1",
    "huggingface-hub<1",
    "tokenizers<=0.23",
)


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the libraries."""
    folder = tmp_path_factory.mktemp("libraries") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    outer = folder / "lib" / version / "site-packages" / "outer.pth"
    outer.write_text(sysconfig.get_path("purelib") + "\n")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    subprocess.run([*command, "--ignore-installed", *PACKAGES], check=True, timeout=280)
    return python


def answer(python: Path, script: str, *arguments: object) -> str:
    """What a script prints."""
    command = [str(python), str(HERE / script), *map(str, arguments)]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    with LocalEngine(1) as found:
        yield found


@pytest.fixture(scope="module", params=[300, 70_000], ids=["16-bit", "32-bit"])
def tokenized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A store, a run in it, and the type that its ids have where there is no uint32."""
    folder = tmp_path_factory.mktemp("tokenized")
    pattern = corpus_at(folder / "corpus")
    tokenizer_in(folder / "store", pattern, padded=request.param if request.param > 65_536 else 0)
    return folder / "store", ran(folder / "store", pattern)["run"], "uint16" if request.param == 300 else "int32"


def read(libraries: Path, folder: Path, kind: str) -> list[dict[str, Any]]:
    """What the library of that format finds in an export."""
    found: list[dict[str, Any]] = json.loads(answer(libraries, "read.py", kind, folder))
    return found


def at(
    tokenized: tuple[Path, str, str], sink: Sink, out: Path, engine: LocalEngine
) -> tuple[Path, list[dict[str, Any]], str]:
    """An export, the documents with the end-of-text token (0) that it must hold, and the type of its ids."""
    store, run, dtype = tokenized
    documents = [{**d, "tokens": [*d["tokens"], 0]} for d in kept(store, run)]
    return exported(store, run, sink, out, engine), documents, dtype


def test_megatron_core_finds_every_document_with_its_end(
    libraries: Path, tokenized: tuple[Path, str, str], tmp_path: Path, engine: LocalEngine
) -> None:
    folder, documents, dtype = at(tokenized, Megatron(), tmp_path / "out", engine)

    assert read(libraries, folder, "megatron") == [{"dtype": dtype, "ids": d["tokens"]} for d in documents]


def test_streaming_finds_every_document_and_its_hashes_hold(
    libraries: Path, tokenized: tuple[Path, str, str], tmp_path: Path, engine: LocalEngine
) -> None:
    folder, documents, dtype = at(tokenized, Mds(columns=("text",)), tmp_path / "out", engine)

    width = {"uint16": "uint16", "int32": "uint32"}[dtype]
    assert read(libraries, folder, "mds") == [
        {"doc_id": d["doc_id"], "text": d["text"], "dtype": width, "ids": d["tokens"]} for d in documents
    ]


def test_litdata_finds_the_blocks_of_every_chunk(
    libraries: Path, tokenized: tuple[Path, str, str], tmp_path: Path, engine: LocalEngine
) -> None:
    folder, documents, dtype = at(tokenized, Litdata(), tmp_path / "out", engine)
    rows = [f["rows"] for f in json.loads((folder / "manifest.json").read_bytes())["files"]]

    found = read(libraries, folder, "litdata")

    blocks = []
    for count in rows:
        ids = [token for d in documents[:count] for token in d["tokens"]]
        blocks += [ids[i : i + 5] for i in range(0, len(ids) - 4, 5)]
        documents = documents[count:]
    assert len(rows) > 1
    assert documents == []
    assert found == [{"dtype": f"torch.{dtype}", "ids": block} for block in blocks]


def test_the_golden_files_are_what_the_libraries_write(libraries: Path, tmp_path: Path) -> None:
    answer(libraries, "write_golden.py", GOLDEN / "documents.json", tmp_path)

    def files(folder: Path) -> dict[str, bytes]:
        found = (f for f in folder.rglob("*") if f.is_file() and f.parent != folder)
        return {str(f.relative_to(folder)): f.read_bytes() for f in found}

    made, golden = files(tmp_path), files(GOLDEN)
    for name in [n for n in made if n.startswith("litdata") and n.endswith(".json")]:
        own, old = json.loads(made.pop(name)), json.loads(golden.pop(name))
        assert own | {"updated_at": ""} == old | {"updated_at": ""}
    assert made == golden
