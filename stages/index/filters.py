"""The Bloom filters of an index: which sketches share a band with a member. They know nothing else of members.

datasketch's `MinHashLSHBloom` identifies a band by one number; ours is the key of the band (see `pipelines.index.bloom`,
which writes the filters and says why).
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.base import Files
from stages.errors import SpecError, StorageError
from stages.index.manifest import Manifest
from stages.index.segment import U32, U64

#: datasketch takes the numbers of bands modulo this prime.
PRIME = np.uint64((1 << 61) - 1)


class BandFilters:
    """One filter a band, mapped for lookups.

    Raises:
        SpecError: the package that reads them is not installed.
        StorageError: a file is missing or is not as long as the manifest says.
    """

    def __init__(self, files: Files, manifest: Manifest) -> None:
        need_package(manifest)
        from pybloomfilter import BloomFilter  # type: ignore[import-not-found]  # noqa: PLC0415 - optional, and untyped

        self.configuration = manifest.configuration
        paths = [filter_file(files, manifest, f".band-{n}.bf") for n in range(self.configuration.bands)]
        self._bands = [BloomFilter.open(str(path), mode="r") for path in paths]

    def members(self, signatures: U32) -> NDArray[np.bool_]:
        """Which sketches [sketch, permutation] share a band with a member, as far as the filters know."""
        from stages.kernels.minhash import band_keys  # noqa: PLC0415 - numba is for those who look up

        keys = band_keys(np.ascontiguousarray(signatures), self.configuration.bands, self.configuration.rows)
        found = np.zeros(len(keys), bool)
        for number, band in enumerate(self._bands):
            rest = np.flatnonzero(~found)
            found[rest] = holds(band, keys[rest, number])
        return found


def holds(band: Any, keys: U64) -> NDArray[np.bool_]:
    """Which keys the filter of a band holds, as far as it knows."""
    return np.fromiter((k in band for k in (keys % PRIME).tolist()), bool, len(keys))


def filter_facts(manifest: Manifest) -> dict[str, Any]:
    """How many documents the filters hold and fit, and how often a lookup is wrong.

    `nominal` is the rate that was asked for, of lookups when the filters are full; `measured` that of invented sketches
    as full as they are now, None where too few members make none.
    """
    place = manifest.place
    rates = {"nominal": place["false_positive_rate"], "measured": place["measured"], "probes": place["probes"]}
    return {"documents": place["documents"], "capacity": place["capacity"], "false_positive_rate": rates}


def filter_file(files: Files, manifest: Manifest, suffix: str) -> Path:
    """A local file of the filters.

    Raises:
        StorageError: it is missing or is not as long as the manifest says.
    """
    [known] = [f for f in manifest.place["files"] if f["path"].endswith(suffix)]
    path = files.local(known["path"])
    found = path.stat().st_size
    if found != known["bytes"]:
        raise StorageError(
            f"{known['path']!r} has {found} bytes, but the index was written with {known['bytes']}; "
            "restore it or build the index again",
            path=known["path"],
        )
    return path


def need_package(manifest: Manifest) -> None:
    """Make sure that this machine can read the filters.

    Raises:
        SpecError: it cannot.
    """
    if importlib.util.find_spec("pybloomfilter") is None:
        raise SpecError(
            f"an index kept in {manifest.backend} needs pybloomfiltermmap3, which is not installed; "
            "run: pip install pybloomfiltermmap3"
        )
