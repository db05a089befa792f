"""Where a perplexity's model is: an artifact that `tamis learn ngram` kept, or a file of the machine."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from stages.artifacts import PREFIX, Artifact, find
from stages.base import Files
from stages.errors import SpecError
from stages.fingerprint import file_digest
from stages.ngrams.normalizations import VERSIONS, Normalization, identity
from stages.ngrams.reading import Reading
from stages.ngrams.scoring import KenLM, opened
from stages.ngrams.table import Table

KIND = "ngram"
#: The files of an artifact: for people and kenlm, for the stage, and what cuts words into pieces where something does.
ARPA, TABLE, PIECES = "model.arpa", "model.table", "pieces.model"


@dataclass(frozen=True, slots=True)
class Found:
    """A model that was found: its content, the key of its pieces, how it reads texts, and the language it is for."""

    key: str
    pieces: str | None
    normalization: Normalization | None
    lang: str | None


def is_artifact(model: str) -> bool:
    """Whether a model is named as an artifact, not as a file."""
    return model.startswith(PREFIX)


def located(files: Files, model: str, normalization: Normalization | None) -> Found:
    """The artifact, which reads texts as the stage is told to.

    Raises:
        SpecError: there is none, it is of another kind, or it was fitted on texts of another normalization.
    """
    artifact = find(files, model, KIND)
    name = _normalization(artifact)
    if artifact.identity["normalization"] != identity(name):
        raise SpecError(
            f"{model!r} was fitted on texts normalized by {artifact.identity['normalization']}, and this installation "
            f"has {identity(name)}; fit it again",
            artifact=model,
        )
    if normalization not in {None, name}:
        raise SpecError(
            f"{model!r} was fitted on texts of the normalization {name!r}, so it cannot score {normalization!r} ones; "
            "leave `normalization` out",
            artifact=model,
        )
    return Found(artifact.key, artifact.identity.get("pieces"), name, artifact.identity.get("lang"))


def _normalization(artifact: Artifact) -> Normalization:
    name = str(artifact.identity["normalization"]).partition("@")[0]
    for known in VERSIONS:
        if known == name:
            return known  # type: ignore[return-value]  # the names of the versions are those of the type
    raise SpecError(
        f"{artifact.id!r} was fitted on texts of the normalization {name!r}, which this version does not know; "
        "update tamis or fit it again",
        artifact=artifact.id,
    )


def content(path: str, what: str) -> str:
    """The SHA-256 of a file, computed once for each state of it.

    Raises:
        SpecError: it is not there.
    """
    try:
        facts = Path(path).stat()
        return _digest(path, facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        raise SpecError(
            f"the {what} {path!r} cannot be read ({error.strerror}); name a file that is there, or artifact:NAME",
            path=path,
        ) from error


@lru_cache(maxsize=64)
def _digest(path: str, size: int, changed: int) -> str:
    del size, changed
    return file_digest(Path(path))


def opened_in(files: Files, model: str, found: Found) -> tuple[Table | KenLM, Reading]:
    """An artifact's model and how texts are read for it.

    Raises:
        StorageError: a file of it is missing or damaged.
    """
    name = model.removeprefix(PREFIX)
    pinned = name if name.endswith(found.key) else f"{name}-{found.key}"
    artifact = find(files, PREFIX + pinned, KIND)
    pieces = artifact.path(files, PIECES) if PIECES in artifact.files else None
    return Table.open(artifact.path(files, TABLE)), Reading(_normalization(artifact), pieces)


def opened_at(path: str, normalization: Normalization, pieces: str | None) -> tuple[Table | KenLM, Reading]:
    """A file's model and how texts are read for it."""
    return opened(Path(path)), Reading(normalization, None if pieces is None else Path(pieces))
