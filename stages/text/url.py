"""Where a document comes from, and what block lists say of its address. Reads the address, never the text."""

import functools
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa

from stages.base import Column, Columns, Example, Kernel, RowStage, column
from stages.blocklists import BlockLists, list_hashes, load_lists, words_of
from stages.errors import SpecError
from stages.fingerprint import digest

PLACE = pa.schema(
    [
        column("domain", pa.string(), "host name", doc="registered domain, lower case"),
        column("host", pa.string(), "host name", doc="full host name, lower case"),
    ]
)
LISTED = pa.schema(
    [
        column("blocked_domain", pa.bool_(), "boolean", doc="the domain or the host is on the list"),
        column("blocked_url", pa.bool_(), "boolean", doc="the whole address is on the list"),
        column("hard_words", pa.int32(), "words", better="lower", doc="different listed words, one of which is bad"),
        column("soft_words", pa.int32(), "words", better="lower", doc="different listed words, two of which are bad"),
        column("banned_subwords", pa.int32(), "words", better="lower", doc="different listed parts of words"),
    ]
)


class Url(RowStage):
    """Host and registered domain of a document's address, and how many entries of block lists it meets.

    `lists` is `none` (domain and host only), `ut1` (the University of Toulouse's lists as packaged in
    datatrove 0.10, with its word lists; CC-BY-SA, extra `blocklists`) or a folder with any of
    `domains.txt`, `urls.txt`, `hard_words.txt`, `soft_words.txt`, `banned_subwords.txt`, one entry a line.
    datatrove's URL filter drops on a blocked domain, a blocked address, one hard word, two soft words or one
    banned part. As there, words are compared with case and parts without. Unlike there, hosts are compared in
    lower case, and addresses also without their scheme, because the entries of ut1 have none.

    The registered domain follows the public suffix list packaged in tldextract, without private
    suffixes and without the network; where no rule matches, the last label is the suffix. Domains and addresses are
    compared by 64-bit hashes (with 4.6 million entries, one address in 4e12 is blocked by accident).
    Null where there is no address, and `domain` and `host` where it has no host.

    Raises:
        SpecError: the lists are not installed, or the folder holds none of the files.
    """

    kind: Literal["url"] = "url"
    requires: ClassVar = ("tldextract",)
    writes: ClassVar = pa.schema([*PLACE, *LISTED])
    examples: ClassVar = (
        Example(
            {"url": "https://www.Example.co.uk:8080/a?b#c"}, {"domain": "example.co.uk", "host": "www.example.co.uk"}
        ),
        Example({"url": "docs.python.example/3/"}, {"domain": "python.example", "host": "docs.python.example"}),
        Example({"url": "http://127.0.0.1/a"}, {"domain": None, "host": "127.0.0.1"}),
        Example({"url": "https://пример.испытание/я"}, {"domain": "пример.испытание"}),
        Example({"url": None}, {"domain": None, "host": None}),
        Example({"url": ""}, {"domain": None, "host": None}),
    )

    url: Column = "url"
    lists: str = "none"

    def reads(self) -> tuple[str, ...]:
        """The address alone."""
        return (self.url,)

    def schema(self) -> pa.Schema:  # type: ignore[override]  # the name of a method that pydantic dropped
        """Without lists, only where the document comes from."""
        return PLACE if self.lists == "none" else self.writes

    def parameters(self) -> dict[str, Any]:
        """The folder's path is no parameter: its content is an artifact."""
        return {"lists": self.lists if self.lists in {"none", "ut1"} else "folder"}

    def artifacts(self) -> dict[str, str]:
        """Hashes of the public suffix list and of every block list."""
        return {"suffixes": _suffix_hash(), **list_hashes(self.lists)}

    def open(self) -> Kernel:
        """Load the suffix list and the block lists (ut1: 4.6 million hashes, 37 MB)."""
        place = functools.lru_cache(maxsize=65_536)(_place_finder())
        lists = None if self.lists == "none" else load_lists(self.lists)

        def kernel(batch: pa.RecordBatch) -> Columns:
            urls = batch[self.url].to_pylist()
            places = [place(_site(url)) for url in urls]
            columns = {
                "domain": pa.array([domain for domain, _ in places], pa.string()),
                "host": pa.array([host for _, host in places], pa.string()),
            }
            return columns | _listed(lists, urls, places) if lists else columns

        return kernel


def _site(url: str) -> str:
    """The address without path, query and fragment, so that places can be remembered by it."""
    scheme, mark, rest = url.partition("//")
    if not mark:
        scheme, rest = "", url
    return scheme + mark + re.split(r"[/?#\\]", rest, maxsplit=1)[0]


def _place_finder() -> Callable[[str], tuple[str | None, str | None]]:
    from tldextract import TLDExtract  # noqa: PLC0415 -- loads a large table, needed by workers only

    extract = TLDExtract(suffix_list_urls=(), cache_dir=None)

    def place(site: str) -> tuple[str | None, str | None]:
        found = extract(site)
        host = ".".join(part for part in (found.subdomain, found.domain, found.suffix) if part).lower()
        if not host or re.search(r"\s", host):
            return None, None
        if found.top_domain_under_public_suffix:
            return found.top_domain_under_public_suffix.lower(), host
        if found.suffix or found.ipv4 or found.ipv6 or "." not in host:
            return None, host
        return ".".join(host.split(".")[-2:]), host  # the list's default rule: an unknown last label is a suffix

    return place


def _listed(lists: BlockLists, urls: list[str], places: list[tuple[str | None, str | None]]) -> dict[str, pa.Array]:
    domains = lists.domains.has([domain or "" for domain, _ in places])
    hosts = lists.domains.has([host or "" for _, host in places])
    whole = lists.urls.has(urls)
    bare = lists.urls.has([url.partition("://")[2] or url for url in urls])
    words = [set(words_of(url)) for url in urls]
    joined = ["".join(words_of(url)).lower() for url in urls]
    return {
        "blocked_domain": pa.array(domains | hosts),
        "blocked_url": pa.array(whole | bare),
        "hard_words": pa.array([len(w & lists.hard_words) for w in words], pa.int32()),
        "soft_words": pa.array([len(w & lists.soft_words) for w in words], pa.int32()),
        "banned_subwords": pa.array([sum(b in j for b in lists.banned_subwords) for j in joined], pa.int32()),
    }


def _suffix_hash() -> str:
    package = importlib.util.find_spec("tldextract")
    for folder in (package.submodule_search_locations if package else None) or []:
        snapshot = Path(folder) / ".tld_set_snapshot"
        if snapshot.is_file():
            return digest(snapshot.read_bytes())
    raise SpecError(
        "the public suffix list of tldextract is not installed; run: pip install --force-reinstall tldextract"
    )
