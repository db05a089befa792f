"""Where documents come from, and block lists."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.base import measure
from stages.blocklists import Hashes, load_lists, words_of
from stages.errors import SpecError
from stages.text.url import Url

PLACES = [
    ("https://www.Example.co.uk:8080/a?b#c", "example.co.uk", "www.example.co.uk"),
    ("http://user:secret@sub.host.example.com./", "example.com", "sub.host.example.com"),
    ("docs.python.example/3/library", "python.example", "docs.python.example"),
    ("https://docs.example", "docs.example", "docs.example"),
    ("https://例え.jp/パス", "例え.jp", "例え.jp"),
    ("https://münchen.de/straße", "münchen.de", "münchen.de"),
    ("http://127.0.0.1/x", None, "127.0.0.1"),
    ("http://localhost/x", None, "localhost"),
    ("http://co.uk/", None, "co.uk"),
    ("not an address", None, None),
    ("", None, None),
    (None, None, None),
]


def measured(urls: list[str | None], **fields: Any) -> dict[str, list[Any]]:
    stage = Url(**fields)
    batch = pa.RecordBatch.from_pydict({"url": pa.array(urls, pa.string())})
    answer: dict[str, list[Any]] = measure(stage, stage.open(), batch).to_pydict()
    return answer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "domains.txt").write_text("# blocked\nbad.com\nsub.mixed.org\n\n例え.jp\n")
    (tmp_path / "urls.txt").write_text("good.com/one-page\nhttps://good.com/whole\n")
    (tmp_path / "hard_words.txt").write_text("Hard Word\nawful\n")
    (tmp_path / "soft_words.txt").write_text("soft\nmild\n")
    (tmp_path / "banned_subwords.txt").write_text("xyzzy\n")
    return tmp_path


def test_domain_and_host_are_found() -> None:
    assert measured([url for url, _, _ in PLACES]) == {
        "domain": [domain for _, domain, _ in PLACES],
        "host": [host for _, _, host in PLACES],
    }


@pytest.mark.parametrize(
    ("url", "met"),
    [
        ("https://bad.com/", {"blocked_domain": True}),
        ("https://deep.sub.BAD.com/", {"blocked_domain": True}),
        ("https://sub.mixed.org/", {"blocked_domain": True}),
        ("https://other.mixed.org/", {}),
        ("https://例え.jp/パス", {"blocked_domain": True}),
        ("https://good.com/one-page", {"blocked_url": True}),
        ("https://good.com/whole", {"blocked_url": True}),
        ("https://good.com/whole/", {}),
        ("https://good.com/awful-awful/hardword", {"hard_words": 2}),
        ("https://good.com/AWFUL", {}),  # datatrove compares words with case
        ("https://good.com/soft/mild?soft", {"soft_words": 2}),
        ("https://good.com/aXY-zzy.html", {"banned_subwords": 1}),
        ("", {}),
    ],
)
def test_lists_are_met(folder: Path, url: str, met: dict[str, Any]) -> None:
    nothing = {"blocked_domain": False, "blocked_url": False, "hard_words": 0, "soft_words": 0, "banned_subwords": 0}
    answer = measured([url], lists=str(folder))
    del answer["domain"], answer["host"]

    assert answer == {name: [value] for name, value in (nothing | met).items()}


def test_lists_enter_the_identity_by_their_content_and_not_by_their_path(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "moved"
    other.mkdir()
    for file in folder.glob("*.txt"):
        (other / file.name).write_bytes(file.read_bytes())
    assert Url(lists=str(folder)).identity() == Url(lists=str(other)).identity()
    (other / "soft_words.txt").write_text("other\n")
    moved = Url(lists=str(other / ".."))
    assert moved.identity() == Url(lists=str(folder)).identity()
    assert str(tmp_path) not in str(moved.identity())


def test_lists_that_are_not_there_are_a_spec_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"holds none of domains\.txt"):
        Url(lists=str(tmp_path)).artifacts()


def test_without_lists_there_is_no_verdict_to_read() -> None:
    assert Url().schema().names == ["domain", "host"]


def test_only_the_address_is_read() -> None:
    assert Url(text="clean.text", url="meta.url").reads() == ("meta.url",)


def test_absent_files_are_empty_lists(tmp_path: Path) -> None:
    (tmp_path / "domains.txt").write_text("bad.com\n")
    lists = load_lists(str(tmp_path))

    assert (lists.hard_words, lists.soft_words, lists.banned_subwords) == (frozenset(), frozenset(), ())
    assert lists.urls.has(["", "x"]).tolist() == [False, False]


@settings(max_examples=50)
@given(st.sets(st.text(max_size=8)), st.lists(st.text(max_size=8)))
def test_hashes_hold_what_a_set_holds(entries: set[str], sought: list[str]) -> None:
    import xxhash  # noqa: PLC0415 -- only the oracle needs it

    hashes = Hashes(np.array(sorted(xxhash.xxh3_64_intdigest(e.encode()) for e in entries), np.uint64))
    both = [*sought, *entries]

    assert hashes.has(both).tolist() == [word in entries for word in both]


def test_words_of_an_address_are_runs_of_ascii_letters_and_digits() -> None:
    assert words_of("https://a-b.example/Ünder_score?x=1") == ["https", "a", "b", "example", "nder", "score", "x", "1"]


def test_the_packaged_lists_are_used_where_they_are_installed() -> None:
    pytest.importorskip("datatrove", reason="the extra 'blocklists' is not installed")
    answer = measured(["https://0-1sex.com/", "https://example.com/"], lists="ut1")

    assert answer["blocked_domain"] == [True, False]
