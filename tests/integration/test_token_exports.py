"""Exports of tokens: every format holds the kept documents' tokens in final order, whole or not at all."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from token_runs import LOCAL, corpus_at, data, exported, kept, ran, spec_of, tokenizer_in

from pipelines import api
from pipelines.engine_local import LocalEngine
from pipelines.run import Options
from stages.base import Sink
from stages.catalog import parse
from stages.errors import SpecError
from stages.sinks.litdata import Litdata
from stages.sinks.mds import Mds
from stages.sinks.webdataset import Webdataset

FORMATS = ("litdata", "mds", "megatron", "webdataset")
#: The sinks of all of them but Megatron's, which runs write themselves here.
OTHERS = (Litdata(), Mds(columns=("text", "meta")), Webdataset())
#: `datasets` leaves files to the collector, and so does `webdataset`.
LEAVES_OPEN = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
Place = tuple[Path, str]


@pytest.fixture(scope="module")
def tokenized(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A store, and a run in it."""
    folder = tmp_path_factory.mktemp("tokenized")
    pattern = corpus_at(folder / "corpus")
    tokenizer_in(folder / "store", pattern)
    return folder / "store", ran(folder / "store", pattern)["run"]


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    with LocalEngine(2) as found:
        yield found


@pytest.fixture
def written(tokenized: Place, tmp_path: Path, engine: LocalEngine) -> Callable[..., Path]:
    """Export the run; gives the folder."""

    def write(format: str, out: str = "out", shard_bytes: int = 2_500, **fields: Any) -> Path:  # noqa: A002 - the command's own word
        sink = parse({"kind": format, **fields}, "sink", "the test")
        assert isinstance(sink, Sink)
        return exported(*tokenized, sink, tmp_path / out, engine, shard_bytes)

    return write


def megatron_ids(folder: Path, dtype: str = "uint16") -> list[int]:
    """All ids of all pairs, in a row."""
    files = [np.frombuffer(f.read_bytes(), dtype) for f in sorted(folder.glob("part-*.bin"))]
    return [int(v) for v in np.concatenate(files)]


def ended(documents: list[dict[str, Any]], end: int) -> list[int]:
    return [v for d in documents for v in [*d["tokens"], end]]


def test_megatron_pairs_hold_the_tokens_of_all_kept_documents_in_final_order(
    tokenized: Place, written: Callable[..., Path]
) -> None:
    documents = kept(*tokenized)

    folder = written("megatron")

    manifest = json.loads((folder / "manifest.json").read_bytes())
    end = manifest["tokens"]["end_of_text"]
    assert len(list(folder.glob("part-*.idx"))) > 1
    assert megatron_ids(folder) == ended(documents, end)
    assert (manifest["total"]["documents"], manifest["total"]["tokens"]) == (len(documents), len(ended(documents, end)))
    assert manifest["tokens"]["tokenizer"].startswith("bpe-")
    assert {n: manifest["tokens"][n] for n in ("vocabulary", "dtype", "ended")} == {
        "vocabulary": 300, "dtype": "uint16", "ended": True,
    }  # fmt: skip


def test_settings_change_the_type_the_end_and_the_cut(tokenized: Place, written: Callable[..., Path]) -> None:
    folder = written("megatron", end_of_text=False, dtype="int32", shard_bytes=10_000_000)

    assert [f.name for f in sorted(folder.glob("part-*"))] == ["part-00000.bin", "part-00000.idx"]
    assert megatron_ids(folder, "int32") == [v for d in kept(*tokenized) for v in d["tokens"]]


@pytest.mark.parametrize("kind", FORMATS)
def test_every_file_is_listed_with_its_checksum_and_the_tokenizer_lies_beside_it(
    written: Callable[..., Path], tokenized: Place, kind: str
) -> None:
    folder = written(kind)

    files = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}
    manifest = json.loads((folder / "manifest.json").read_bytes())
    listed = {f["name"]: f["sha256"] for f in [*manifest["files"], *manifest["beside"]]}
    made = {"manifest.json", "README.md", "croissant.json", "SHA256SUMS"}
    assert listed == {name: found for name, found in files.items() if name not in made}
    sums = dict(line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert sums == listed
    from tokenizers import Tokenizer  # noqa: PLC0415 - the library takes a while

    document = kept(*tokenized)[0]
    assert Tokenizer.from_file(str(folder / "tokenizer.json")).decode(document["tokens"]) == document["text"]
    assert "## Loading" in (folder / "README.md").read_text(encoding="utf-8")


def test_bytes_depend_on_the_documents_alone_and_follow_the_order_of_the_spec(
    tmp_path: Path, engine: LocalEngine
) -> None:
    pattern = corpus_at(tmp_path / "corpus")
    order = {"kind": "curriculum", "by": "tokens.count", "phases": 2, "mix": 0.2, "seed": 3}
    store = tmp_path / "store"
    tokenizer_in(store, pattern)
    found = []
    for shard_bytes, workers in ((1_000, 2), (1_000_000, 1)):
        source = {"kind": "jsonl", "path": str(pattern), "shard_bytes": shard_bytes}
        write = {"kind": "megatron", "shard_bytes": 2_500}
        run = ran(store, pattern, Options("local", workers), source=source, write=write, order=order)
        others = [exported(store, run["run"], sink, tmp_path / f"{sink.kind}-{workers}", engine) for sink in OTHERS]
        found.append([data(run["export"]), *map(data, others)])
        documents = kept(store, run["run"])
        assert megatron_ids(Path(run["export"])) == ended(documents, 0)

    assert found[0] == found[1]
    assert len(found[0][0]) > 4


def test_a_run_without_tokens_fails_at_once_and_says_what_to_add(tmp_path: Path) -> None:
    pattern = corpus_at(tmp_path / "corpus", files=1)
    plain = spec_of(pattern, measure={})

    with pytest.raises(
        SpecError, match="the format 'mds' holds tokens, and the spec measures none; add a step such as"
    ):
        api.run(plain | {"write": {"kind": "mds"}}, store=tmp_path / "store", options=LOCAL)
    run = api.run(plain, store=tmp_path / "store", options=LOCAL)["run"]
    with pytest.raises(SpecError, match="the format 'litdata' holds tokens, and the spec measures none"):
        api.export(run, format="litdata", out=tmp_path / "out", options=LOCAL, store=tmp_path / "store")
    assert not (tmp_path / "out").exists()


def test_settings_of_the_command_are_fields_of_the_format_and_unknown_ones_are_refused(
    tokenized: Place, tmp_path: Path
) -> None:
    store, run = tokenized
    settings = {"dtype": "int32", "end_of_text": False, "shard_bytes": 10_000_000}

    done = api.export(run, format="megatron", out=tmp_path / "out", settings=settings, options=LOCAL, store=store)

    assert (done["files"], done["tokens"]) == (2, sum(len(d["tokens"]) for d in kept(*tokenized)))
    with pytest.raises(SpecError, match=r"--format has the unknown field 'dtyp'; did you mean 'dtype'\?"):
        api.export(run, format="mds", out=tmp_path / "none", settings={"dtyp": "int32"}, options=LOCAL, store=store)


# -- loaded with the libraries that are installed ----------------------------------------------------------------------

LOAD = """
import json, sys
from datasets import load_dataset
found = [load_dataset(kind, data_files=files, split="train").to_list() for kind, files in json.loads(sys.argv[1])]
print(json.dumps(found))
"""


def offline(tmp_path: Path) -> dict[str, str]:
    """An environment in which Hugging Face's libraries stay here."""
    return {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def loaded(tmp_path: Path, *wanted: tuple[str, Path | None]) -> list[list[dict[str, Any]]]:
    """What `datasets.load_dataset` finds for each builder (or folder) and files, without a network."""
    asked = json.dumps([(kind, None if files is None else str(files)) for kind, files in wanted])
    command = [sys.executable, "-c", LOAD, asked]
    done = subprocess.run(command, capture_output=True, text=True, env=offline(tmp_path), timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    rows: list[list[dict[str, Any]]] = json.loads(done.stdout)
    return rows


def test_datasets_loads_parquet_jsonl_and_webdataset_by_their_files_and_by_their_card(
    tokenized: Place, written: Callable[..., Path], tmp_path: Path
) -> None:
    ids = written("parquet", "ids", columns=["doc_id", "text", "tokens.ids"])
    documents, lines, tars = written("parquet", "documents"), written("jsonl", "lines"), written("webdataset", "tars")
    expected = kept(*tokenized)
    texts = [d["text"] for d in expected]

    files = loaded(
        tmp_path,
        ("parquet", ids / "part-*.parquet"),
        (str(ids), None),
        (str(documents), None),
        ("json", lines / "part-*.jsonl.zst"),
        (str(tars), None),
    )

    assert files[0] == files[1] == expected
    assert [row["text"] for row in files[2]] == texts
    assert [row["text"] for row in files[3]] == texts
    assert [row["txt"] for row in files[4]] == texts
    assert [row["tokens.npy"][:-1] for row in files[4]] == [d["tokens"] for d in expected]


READ_ME = """
import os, re, sys
ids = [1, 2]
for folder in sys.argv[1:]:
    os.chdir(folder)
    for block in re.findall(r"```python\\n(.*?)```", open("README.md", encoding="utf-8").read(), re.DOTALL):
        exec(block)
    print(len(list(documents)), text)
"""


def test_the_code_of_the_card_loads_the_data(written: Callable[..., Path], tokenized: Place, tmp_path: Path) -> None:
    kinds = ("parquet", "jsonl", "webdataset")
    folders = [str(written(kind, kind, columns=["text", "tokens.ids"])) for kind in kinds]

    done = subprocess.run(
        [sys.executable, "-c", READ_ME, *folders],
        capture_output=True,
        text=True,
        env=offline(tmp_path),
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    lines = {line.split(" ")[0] for line in done.stdout.splitlines()}
    assert lines == {str(len(kept(*tokenized)))}


@LEAVES_OPEN
def test_webdataset_loads_texts_and_tokens_in_order(tokenized: Place, written: Callable[..., Path]) -> None:
    import webdataset  # noqa: PLC0415 - the library takes a while

    folder = written("webdataset")
    names = sorted(map(str, folder.glob("part-*.tar")))

    samples = list(webdataset.WebDataset(names, shardshuffle=False).decode())

    end = json.loads((folder / "manifest.json").read_bytes())["tokens"]["end_of_text"]
    found = [{"doc_id": s["__key__"], "text": s["txt"], "tokens": s["tokens.npy"].tolist()} for s in samples]
    assert found == [{**d, "tokens": [*d["tokens"], end]} for d in kept(*tokenized)]
    assert [s["json"]["doc_id"] for s in samples] == [d["doc_id"] for d in kept(*tokenized)]
    assert {s["tokens.npy"].dtype for s in samples} == {np.dtype("uint16")}


# -- sudden death ------------------------------------------------------------------------------------------------------

DRIVER = """
import sys
from pipelines import api
from pipelines.run import Options
if __name__ == "__main__":
    store, run, format, out = sys.argv[1:]
    api.export(run, format=format, out=out, options=Options("local", 1), store=store)
"""


@pytest.mark.parametrize(
    ("kind", "failpoint"),
    [
        ("megatron", "export.before_put:kill@2"),  # the index of a pair is there, the ids are not
        ("litdata", "export.before_publish:kill"),
    ],
)
def test_a_killed_export_leaves_nothing_and_a_rerun_gives_the_same_bytes(
    tokenized: Place, written: Callable[..., Path], tmp_path: Path, kind: str, failpoint: str
) -> None:
    store, run = tokenized
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, str(tmp_path / "driver.py"), str(store), run, kind, str(tmp_path / "out")]

    done = subprocess.run(
        command, env={**os.environ, "TAMIS_FAILPOINTS": failpoint}, capture_output=True, timeout=120, check=False
    )

    assert done.returncode != 0
    assert not (tmp_path / "out").exists()
    folder, calm = written(kind), written(kind, "calm")
    assert {f.name: f.read_bytes() for f in folder.iterdir()} == {f.name: f.read_bytes() for f in calm.iterdir()}
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
