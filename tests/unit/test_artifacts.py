"""Artifacts: what learners have fitted, by name and by content."""

from pathlib import Path

import pytest

from pipelines.artifacts import keep
from pipelines.store import Store
from stages.artifacts import find
from stages.errors import SpecError, StorageError


def fitted(store: Store, folder: Path, content: bytes, name: str = "hq"):
    path = folder / "model.bin"
    path.write_bytes(content)
    return keep(store, name, "quality", {"model.bin": path}, identity={"words": 1}, card={"metrics": {"f1": 0.5}})


def test_a_name_is_its_newest_version_and_an_id_is_one_content_for_ever(store, tmp_path):
    first, second = fitted(store, tmp_path, b"one"), fitted(store, tmp_path, b"two")

    assert find(store, "artifact:hq", "quality") == second
    assert find(store, f"artifact:{first.id}", "quality") == first
    assert first.path(store, "model.bin").read_bytes() == b"one"
    assert (first.card, first.identity) == ({"metrics": {"f1": 0.5}}, {"words": 1})


def test_fitting_the_same_content_again_makes_no_new_version(store, tmp_path):
    first = fitted(store, tmp_path, b"one")

    assert fitted(store, tmp_path, b"one") == first
    assert list(store.list("artifacts/hq/versions")) == ["artifacts/hq/versions/00000001.json"]


def test_an_older_content_that_is_fitted_again_is_the_newest_version(store, tmp_path):
    first = fitted(store, tmp_path, b"one")
    fitted(store, tmp_path, b"two")
    fitted(store, tmp_path, b"one")

    assert find(store, "artifact:hq", "quality") == first


def test_a_name_that_is_nearly_right_is_suggested(store, tmp_path):
    fitted(store, tmp_path, b"one", "mail-quality")
    fitted(store, tmp_path, b"one")

    with pytest.raises(SpecError, match="the store has no artifact 'mail-qualty'; did you mean 'mail-quality'"):
        find(store, "artifact:mail-qualty", "quality")
    with pytest.raises(SpecError, match="write artifact:NAME"):
        find(store, "hq", "quality")
    with pytest.raises(SpecError, match="is an artifact of kind 'quality' where one of kind 'ngram' is needed"):
        find(store, "artifact:hq", "ngram")
    with pytest.raises(SpecError, match=r"an artifact cannot be called '\.\./hq'"):
        fitted(store, tmp_path, b"one", "../hq")


def test_a_file_that_was_changed_is_refused(store, tmp_path):
    found = fitted(store, tmp_path, b"one")
    (Path(store.url) / found.files["model.bin"]["path"]).write_bytes(b"two")

    with pytest.raises(StorageError, match="does not have the content that it was committed with"):
        found.path(store, "model.bin")


def test_a_record_that_was_changed_is_refused(store, tmp_path):
    found = fitted(store, tmp_path, b"one")
    record = Path(store.url) / f"artifacts/hq/commits/{found.key}.json"
    record.write_text(record.read_text().replace('"words":1', '"words":2'))

    with pytest.raises(StorageError, match="does not have the hash in its name"):
        find(store, "artifact:hq", "quality")
