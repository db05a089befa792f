"""A static embedding made of a sentence transformer, once on a machine: a vector for every token of its vocabulary.

model2vec (0.10) runs every token through the transformer, reduces the vectors by principal components and weighs them
by the rank of the token (SIF over Zipf's law). It happens in a process of its own, on one thread and with the same
instructions on every x86-64 processor with AVX2, so that equal recipes give equal bytes; what is made is kept in the
user's cache folder, under a name that is the hash of the recipe: the model's files, the parameters, the versions.
"""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stages.embeddings.models import STATIC_DIMENSIONS, content_of, packaged, recipe_key
from stages.errors import SpecError, StageError

LIBRARIES = ("model2vec", "numpy", "safetensors", "skeletoken", "tokenizers", "torch", "transformers")
PARAMETERS: dict[str, Any] = {"dimensions": STATIC_DIMENSIONS, "sif_coefficient": 1e-4, "removed": r"\[unused\d+\]"}
TABLE, TOKENIZER = "vectors.npy", "tokenizer.json"
#: One thread, and the same instructions wherever there is AVX2: sums in another order have other last bits.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OPENBLAS_CORETYPE": "Haswell",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "AVX2",
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
}


def recipe() -> dict[str, Any]:
    """What the static embedding depends on.

    Raises:
        SpecError: a library or the model is not installed.
    """
    return {"model": content_of(packaged()), "parameters": PARAMETERS, "versions": _versions()}


def static_folder() -> Path:
    """The folder of the static embedding, which is made first where it is missing (about half a minute).

    Raises:
        SpecError: a library or the model is not installed, or the cache folder cannot be written to.
        StageError: the process that makes it failed.
    """
    made_of = recipe()
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tamis" / "models"
    folder = base / f"static-{recipe_key(made_of)}"
    if not folder.is_dir():
        with _alone(base, folder.name):
            if not folder.is_dir():  # another process may have made it while this one waited
                _make(folder, made_of)
    return folder


def distill(folder: Path) -> None:
    """Write the table (float16, a row a token) and the tokenizer of the packaged MiniLM's distillation to a folder."""
    import numpy as np  # noqa: PLC0415 - in the process of its own only
    from model2vec.distill import distill as model2vec_distill  # noqa: PLC0415 - imports torch

    model = model2vec_distill(
        str(packaged()),
        device="cpu",
        pca_dims=PARAMETERS["dimensions"],
        sif_coefficient=PARAMETERS["sif_coefficient"],
        token_remove_pattern=PARAMETERS["removed"],
        quantize_to="float16",
    )
    folder.mkdir(parents=True)
    np.save(folder / TABLE, np.ascontiguousarray(model.embedding, np.float16), allow_pickle=False)
    model.tokenizer.no_truncation()
    model.tokenizer.no_padding()
    (folder / TOKENIZER).write_text(model.tokenizer.to_str(), encoding="utf-8")


def _make(folder: Path, made_of: dict[str, Any]) -> None:
    part = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        command = [sys.executable, "-m", __name__, str(part)]
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH")) if p)
        environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": path}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own interpreter
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
            raise StageError(f"the static embedding could not be distilled from all-MiniLM-L6-v2: {last[0]}")
        (part / "recipe.json").write_text(json.dumps(made_of, indent=1) + "\n", encoding="utf-8")
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def _alone(base: Path, name: str) -> Iterator[None]:
    """One process at a time: the others wait, and find what the first has made."""
    try:
        base.mkdir(parents=True, exist_ok=True)
        with (base / f".{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except PermissionError as error:
        raise SpecError(
            f"the static embedding cannot be kept in {base}: {error.strerror}; set XDG_CACHE_HOME to a folder that can "
            "be written"
        ) from error


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError as error:
            raise SpecError(
                f"the static embedding is distilled with {name}, which is not installed; "
                "run: pip install 'model2vec[distill]', or give `model` the folder of a model2vec model",
                package=name,
            ) from error
    return found


if __name__ == "__main__":
    distill(Path(sys.argv[1]))
