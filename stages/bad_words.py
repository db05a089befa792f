"""Lists of bad words by language: those that come with tamis, or files of one entry a line."""

import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path

from stages.catalog import did_you_mean
from stages.errors import SpecError
from stages.fingerprint import digest

PACKAGE, FOLDER = "stages.word_lists", "ldnoobw"
#: Entries that C4's authors took off the lists, because they are common and harmless (filters.md, section 9).
ALLOWED: Mapping[str, frozenset[str]] = {"ja": frozenset({"sm", "グロ", "女の子"}), "zh": frozenset({"性"})}
#: Languages written without spaces, in which an entry counts wherever it stands.
UNSPACED = frozenset({"ja", "th", "zh"})
#: Codes of languages that have their list under another.
ALIASES = {"tl": "fil", "nb": "no", "nn": "no"}


def list_code(code: str, lists: Mapping[str, str] | None) -> str:
    """The code under which a language has its list."""
    known = lists if lists is not None else shipped()
    return code if code in known else ALIASES.get(code, code)


def entries(code: str, lists: Mapping[str, str] | None) -> tuple[str, ...] | None:
    """The entries of a language's list in their order, each once; None where it has none.

    Raises:
        SpecError: the file cannot be read, or has no entry.
    """
    path = paths(lists).get(list_code(code, lists))
    if path is None:
        return None
    allowed = ALLOWED.get(code, frozenset()) if lists is None else frozenset()
    words = dict.fromkeys(word for line in _text(path).split("\n") if (word := line.strip()) and word not in allowed)
    if not words:
        raise SpecError(f"the list of bad words {str(path)!r} has no entry; write one a line", language=code)
    return tuple(words)


def hashes(codes: tuple[str, ...] | None, lists: Mapping[str, str] | None) -> dict[str, str]:
    """SHA-256 of the lists of some languages, by code; of all as one hash where None.

    Raises:
        SpecError: a language has no list, or its file cannot be read.
    """
    known = paths(lists)
    if codes is None:
        every = "".join(f"{code}\n{_text(path)}\0" for code, path in sorted(known.items()))
        return {"lists": digest(every.encode())}
    found = {}
    for code in codes:
        path = known.get(list_code(code, lists))
        if path is None:
            raise SpecError(
                f"there is no list of bad words for {code!r}{did_you_mean(code, sorted(known))}", language=code
            )
        found[code] = digest(_text(path).encode())
    return found


def paths(lists: Mapping[str, str] | None) -> dict[str, Path]:
    """The file of every language."""
    return shipped() if lists is None else {code: Path(path) for code, path in lists.items()}


@functools.cache
def shipped() -> dict[str, Path]:
    """The lists that come with tamis, by language."""
    package = importlib.util.find_spec(PACKAGE)
    folders = (package.submodule_search_locations if package else None) or []
    return {path.stem: path for folder in folders for path in sorted((Path(folder) / FOLDER).glob("*.txt"))}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"the list of bad words {str(path)!r} cannot be read: {error}; check the path") from error
