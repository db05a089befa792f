"""The doctor looks, and says what to do about what is missing."""

import sys

from pipelines.doctor import Check, doctor


def test_everything_that_is_needed_is_on_the_machine_that_runs_the_tests(tmp_path):
    checks = doctor(str(tmp_path / "store"))
    missing = [c for c in checks if c.needed and not c.ok and c.name not in ("memory", "disk of the store")]
    assert missing == []


def test_the_doctor_looks_at_the_machine_the_engine_the_folders_and_the_stages(tmp_path):
    names = {c.name for c in doctor(str(tmp_path / "store"))}
    assert {"python", "memory", "ray", "compiler cache", "store", "normalize: ftfy", "browser", "torch"} <= names


def test_a_folder_that_cannot_be_is_reported_with_advice(tmp_path):
    file = tmp_path / "file"
    file.write_text("not a folder")
    found = {c.name: c for c in doctor(str(file / "store"))}
    assert found["store"] == Check("store", ok=False, found=str(file / "store"), advice="choose another --store")


def test_looking_imports_no_engine_and_no_compiler():
    before = set(sys.modules)
    doctor()
    assert not {"ray", "torch", "numba"} & (set(sys.modules) - before)
