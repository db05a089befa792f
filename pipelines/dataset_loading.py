"""How people load an export: the piece of code that the dataset card shows, by format."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipelines.quantities import count

#: Formats that `datasets.load_dataset` reads.
HUGGING_FACE = ("parquet", "jsonl", "webdataset")
#: Media types of the formats.
MEDIA = {
    "parquet": "application/x-parquet",
    "jsonl": "application/jsonl+zstd",
    "webdataset": "application/x-tar",
}
#: Names that are written out in a snippet at most.
_SHOWN = 4


def loading(manifest: Mapping[str, Any]) -> str:
    """A section of Markdown with the code that loads the data, and the tokenizer where there are tokens."""
    snippet = _SNIPPETS.get(manifest["kind"])
    parts = [snippet([f["name"] for f in manifest["files"]])] if snippet else []
    if "tokens" in manifest:
        parts.append(_tokens(manifest["tokens"]))
    return "## Loading\n\n" + "\n".join(parts) if parts else ""


def _python(*lines: str) -> str:
    return "```python\n" + "\n".join(lines) + "\n```\n"


def _parquet(names: Sequence[str]) -> str:
    del names
    return _python(
        "from datasets import load_dataset",
        "",
        'documents = load_dataset("parquet", data_files="part-*.parquet", split="train")',
    )


def _jsonl(names: Sequence[str]) -> str:
    del names
    return _python(
        "from datasets import load_dataset",
        "",
        'documents = load_dataset("json", data_files="part-*.jsonl.zst", split="train")',
    )


def _litdata(names: Sequence[str]) -> str:
    del names
    return _python(
        "from litdata import StreamingDataset, TokensLoader",
        "",
        "# blocks of 2,048 tokens and the one that follows them",
        'blocks = StreamingDataset(".", item_loader=TokensLoader(block_size=2048 + 1), shuffle=True)',
    )


def _mds(names: Sequence[str]) -> str:
    del names
    return _python(
        "from streaming import StreamingDataset",
        "",
        'documents = StreamingDataset(local=".", shuffle=False, batch_size=1, validate_hash="sha256")',
        'documents[0]["tokens"]',
    )


def _megatron(names: Sequence[str]) -> str:
    prefixes = [name.removesuffix(".bin") for name in names if name.endswith(".bin")]
    shown = " ".join(prefixes[:_SHOWN]) + (" ..." if len(prefixes) > _SHOWN else "")
    files = (
        "a pair of files"
        if len(prefixes) == 1
        else f"{count(len(prefixes))} pairs of files, each drawn from by its size"
    )
    return f"Megatron-LM and GPT-NeoX take {files}:\n\n```sh\n--data-path {shown}\n```\n\nIn Python:\n\n" + _python(
        "from megatron.core.datasets.indexed_dataset import IndexedDataset",
        "",
        f'documents = IndexedDataset("{prefixes[0]}")',
    )


def _webdataset(names: Sequence[str]) -> str:
    tars = [name for name in names if name.endswith(".tar")]
    last = tars[-1].removeprefix("part-").removesuffix(".tar")
    pattern = f"part-{{00000..{last}}}.tar" if len(tars) > 1 else "part-00000.tar"
    return _python(
        "import webdataset",
        "",
        f'documents = webdataset.WebDataset("{pattern}", shardshuffle=False).decode()',
        'next(iter(documents))["json"]',
    )


_SNIPPETS: Mapping[str, Callable[[Sequence[str]], str]] = {
    "parquet": _parquet,
    "jsonl": _jsonl,
    "litdata": _litdata,
    "mds": _mds,
    "megatron": _megatron,
    "webdataset": _webdataset,
}


def _tokens(tokens: Mapping[str, Any]) -> str:
    """What the ids are, and how they become text again."""
    end = tokens["end_of_text"]
    ended = (
        f"The end-of-text token ({end}) follows each document."
        if tokens.get("ended")
        else "No end-of-text token is added."
    )
    once = " Every document is there once, however often the selection reads it." if tokens.get("once") else ""
    width = f", written as {tokens['dtype']}" if "dtype" in tokens else ""
    return (
        f"Token ids are of the tokenizer `{tokens['tokenizer']}` ({count(tokens['vocabulary'])} entries{width}), which lies "
        f"beside the data. {ended}{once}\n\n"
        + _python(
            "from tokenizers import Tokenizer",
            "",
            'text = Tokenizer.from_file("tokenizer.json").decode(ids)',
        )
    )
