"""Numbers that change without a new `version` would be served from old results: the digests hold them still.

After a wanted change, bump the stage's `version` and write the digests anew:

    TAMIS_GOLDEN=write .venv/bin/pytest tests/contract/test_golden.py
"""

import json
import os
from typing import Any

import pytest


@pytest.fixture(scope="session")
def golden(contract: Any) -> Any:
    if os.environ.get("TAMIS_GOLDEN") == "write":
        values = {c.name: {"version": c.stage.version, "digest": c.digest()} for c in contract.row_cases()}
        contract.GOLDEN.write_text(json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return json.loads(contract.GOLDEN.read_text())


def test_numbers_change_only_with_the_version(row: Any, golden: Any) -> None:
    assert row.name in golden, f"write the digest of the new stage {row.name!r} (see this file's docstring)"
    known = golden[row.name]
    if known["version"] == row.stage.version:
        assert row.digest() == known["digest"], f"{row.name!r} gives other numbers; bump its version"
    else:
        assert row.digest() != known["digest"], f"{row.name!r} has a new version, but its numbers did not change"
        pytest.fail(f"write the digest of version {row.stage.version} of {row.name!r} (see this file's docstring)")


def test_no_digest_is_left_of_a_stage_that_is_gone(contract: Any, golden: Any) -> None:
    assert sorted(golden) == sorted(case.name for case in contract.row_cases())
