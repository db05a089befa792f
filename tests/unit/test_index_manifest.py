"""Manifests of an index, and finding the newest one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from index_runs import CONFIGURATION

from stages.errors import SpecError, StorageError
from stages.index.manifest import Manifest, checked_name, parse
from stages.versions import newest


@given(st.integers(0, 3000))
def test_the_newest_number_is_found_with_few_questions(last):
    asked = []

    assert newest(lambda n: asked.append(n) or n <= last) == last
    assert len(asked) <= 2 * last.bit_length() + 1


def test_a_manifest_survives_json():
    manifest = Manifest(3, "store", CONFIGURATION, adds=({"corpus": "a", "digest": "d"},), retired={"x": 1.5})

    assert parse(json.dumps(manifest.json()).encode(), "p") == manifest


def test_a_manifest_of_a_later_format_or_of_something_else_is_refused():
    later = json.dumps(Manifest(1, "store", CONFIGURATION).json() | {"format": 2}).encode()
    with pytest.raises(StorageError, match="has the format 2"):
        parse(later, "p")
    for data in (b"{}", b"[1]", b"no json", b'{"format": 1, "number": "x"}'):
        with pytest.raises(StorageError, match="is not the manifest of an index"):
            parse(data, "p")


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "篩", "x" * 101, ".hidden"])
def test_an_impossible_name_is_refused(name):
    with pytest.raises(SpecError, match="cannot be called"):
        checked_name(name)
