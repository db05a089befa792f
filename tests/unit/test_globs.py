"""Globs: what cannot be one is refused by its own name, and sets mean what they mean in a shell."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.globs import Found, find_local, matcher
from pipelines.input_s3 import find_s3
from stages.errors import SpecError


def local(glob: str) -> Found:
    return find_local(glob, lambda _: True)


def found(folder: Path, glob: str) -> list[str]:
    return sorted(local(f"{folder}/{glob}").paths)


@pytest.mark.parametrize("part", ["[z-a]*", "[é-a].jsonl", "[!]"])
@pytest.mark.parametrize(("root", "find"), [("/nowhere", local), ("s3://bucket/raw", find_s3)])
def test_a_set_that_is_none_is_refused_with_the_glob(part: str, root: str, find: Callable[[str], Found]) -> None:
    with pytest.raises(SpecError, match=rf"has {re.escape(repr(part))}, which is no pattern: .*; write sets such as"):
        find(f"{root}/{part}")


@pytest.mark.parametrize("name", ["x" * 256, "漢" * 86, "x" * 300 + "/*.jsonl"])
def test_a_name_longer_than_any_file_has_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError, match="in it, a name of more than 255 bytes, which no file has; check it"):
        local(f"{tmp_path}/{name}")


def test_the_longest_name_is_found_and_a_longer_pattern_is_one(tmp_path: Path) -> None:
    (tmp_path / ("漢" * 85)).touch()

    assert found(tmp_path, "漢" * 85) == ["漢" * 85]
    assert found(tmp_path, "[漢字]" * 85) == ["漢" * 85]


def test_a_path_of_many_thousand_letters_matches_nothing(tmp_path: Path) -> None:
    assert found(tmp_path, "a/" * 5000 + "*.jsonl") == []


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("[a&&b]", ["&", "a", "b"]),
        ("[[a]", ["[", "a"]),
        ("[a||~~b]", ["a", "b", "|", "~"]),
        ("[--a]", ["-", "[", "]", "^", "a"]),
        ("[!--~]", ["&", "é"]),
        ("[a^]", ["^", "a"]),
        ("[]a]", ["]", "a"]),
    ],
)
def test_in_a_set_only_a_hyphen_and_an_exclamation_mark_at_the_start_mean_something(
    tmp_path: Path, part: str, names: list[str]
) -> None:
    everything = ["&", "-", "[", "]", "^", "a", "b", "|", "~", "é"]
    for name in everything:
        (tmp_path / name).touch()

    assert found(tmp_path, part) == [n for n in everything if matcher([part]).match(n)] == names


@pytest.mark.parametrize("key", [".", "../a", "a/../b/*.jsonl", "./a", "a//b"])
def test_a_path_that_no_object_can_have_is_refused(key: str) -> None:
    with pytest.raises(
        SpecError, match=rf"the path 's3://bucket/{re.escape(key)}' cannot be a key: .*without such parts"
    ):
        find_s3(f"s3://bucket/{key}")
