"""What a near-duplicate index holds: its manifest, its configuration, and where its newest manifest is.

    indexes/{name}/manifests/{number}.json    created once, never changed; the highest number is the index

Every change of an index is one more manifest. Readers trust manifests only, never a listing, and find the newest one
by its number: the numbers have no gaps.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stages.base import Files
from stages.errors import SpecError, StorageError
from stages.fingerprint import key
from stages.versions import is_there, newest

FORMAT = 1
#: The permutations of every sketch: datasketch 2.0's 32-bit affine ones.
SCHEME = "affine32"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Configuration:
    """How the sketches of an index were made and how they are banded; sketches made otherwise cannot be compared."""

    sketch: Record  # kind, version, scheme, parameters and artifacts of the minhash step
    bands: int
    rows: int

    @property
    def permutations(self) -> int:
        """Values of a sketch."""
        return int(self.sketch["parameters"]["permutations"])

    def json(self) -> dict[str, Any]:
        """The configuration as data."""
        return {"sketch": dict(self.sketch), "bands": self.bands, "rows": self.rows}

    @classmethod
    def from_json(cls, value: Record) -> "Configuration":
        """The configuration that `json` described."""
        return cls(value["sketch"], int(value["bands"]), int(value["rows"]))

    def accept(self, sketch: Record, index: str, who: str) -> None:
        """Make sure that sketches of `who` can be compared with those of the index.

        Raises:
            SpecError: they were made otherwise; names every setting that differs.
        """
        ours, theirs = _settings(self.sketch), _settings(sketch)
        names = [n for n in dict.fromkeys((*ours, *theirs)) if ours.get(n) != theirs.get(n)]
        if names:
            has = ", ".join(f"{n} {ours.get(n)!r}" for n in names)
            makes = ", ".join(f"{n} {theirs.get(n)!r}" for n in names)
            raise SpecError(
                f"the index {index!r} holds sketches with {has}, but {who} makes them with {makes}, and such sketches "
                "cannot be compared; use equal settings or another index",
                index=index,
                settings=names,
            )


def sketch_of(identity: Record) -> dict[str, Any]:
    """What of a minhash stage's identity makes its sketches comparable."""
    return {name: identity[name] for name in ("kind", "version", "parameters", "artifacts")} | {"scheme": SCHEME}


def _settings(sketch: Record) -> dict[str, Any]:
    plain = {name: sketch.get(name) for name in ("kind", "version", "scheme")}
    return plain | dict(sketch.get("parameters", {})) | dict(sketch.get("artifacts", {}))


@dataclass(frozen=True, slots=True)
class Manifest:
    """One state of an index. `adds` are numbered by their place, and documents name the add that they came with."""

    number: int
    backend: str
    configuration: Configuration
    adds: tuple[Record, ...] = ()
    segments: tuple[Record, ...] = ()
    removed: Record | None = None  # path, bytes, sha256 and count of the table of what was taken down
    place: Record = field(default_factory=dict)  # what a backend other than the store needs to find its data
    retired: Mapping[str, float] = field(default_factory=dict)  # segments of before a merge, and when they went

    @property
    def snapshot(self) -> str:
        """16 hex digits that are equal where the same documents were added and removed, whatever was merged since."""
        taken = None if self.removed is None else self.removed["digest"]
        adds = [[add["corpus"], add["digest"]] for add in self.adds]
        return key({**self.configuration.json(), "backend": self.backend, "adds": adds, "removed": taken})

    def json(self) -> dict[str, Any]:
        """The manifest as data."""
        return {
            "format": FORMAT,
            "number": self.number,
            "backend": self.backend,
            "configuration": self.configuration.json(),
            "adds": list(self.adds),
            "segments": list(self.segments),
            "removed": self.removed,
            "place": dict(self.place),
            "retired": dict(self.retired),
            "snapshot": self.snapshot,
        }

    def after(self, **changes: Any) -> "Manifest":
        """The manifest that follows this one, with these fields changed."""
        return replace(self, number=self.number + 1, **changes)


def parse(data: bytes, path: str) -> Manifest:
    """The manifest that is stored at `path`.

    Raises:
        StorageError: it is none, or one of a later version of tamis.
    """
    try:
        value = json.loads(data)
        known = value["format"]
        if known == FORMAT:
            return Manifest(
                number=int(value["number"]),
                backend=str(value["backend"]),
                configuration=Configuration.from_json(value["configuration"]),
                adds=tuple(value["adds"]),
                segments=tuple(value["segments"]),
                removed=value["removed"],
                place=value["place"],
                retired=value["retired"],
            )
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{path!r} is not the manifest of an index ({error!r}); something else wrote it, so restore it",
            path=path,
        ) from error
    raise StorageError(
        f"the index at {path!r} has the format {known!r}, and this version of tamis knows only {FORMAT}; "
        "use the version that made it",
        path=path,
    )


def manifest_path(index: str, number: int) -> str:
    """The path in the store of a manifest."""
    return f"indexes/{index}/manifests/{number:08d}.json"


def checked_name(index: str) -> str:
    """Return the name of an index when it can be one.

    Raises:
        SpecError: it cannot.
    """
    if not NAME.match(index):
        raise SpecError(f"an index cannot be called {index!r}; write letters, digits, '.', '_' and '-' (at most 100)")
    return index


def newest_in(files: Files, index: str) -> tuple[str, Manifest] | None:
    """Path and content of the newest manifest of an index among the files of a store, or None where there is none."""
    number = newest(lambda n: is_there(files, manifest_path(index, n)))
    if not number:
        return None
    path = manifest_path(index, number)
    return path, parse(files.local(path).read_bytes(), path)
