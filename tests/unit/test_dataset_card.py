from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from pipelines.dataset_card import About, card, croissant

COUNTS = {"kept": 3, "rejected": 1, "quarantined": 2, "reasons": {"short": {"documents": 1, "alone": 1}}}
ABOUT = About("web", "web-12ab", COUNTS, [("short", "stats.words >= 50", "a paper")])


def manifest(documents: int = 3, **counts: Mapping[str, int] | None) -> dict[str, Any]:
    return {
        "key": "k",
        "kind": "parquet",
        "schema": [{"name": "doc_id", "type": "string"}, {"name": "text", "type": "string"}],
        "files": [{"name": "part-00000.parquet", "bytes": 9, "sha256": "00"}],
        "total": {"documents": documents, "text_bytes": 30},
        "counts": {"source": {}, "license": {}, "lang": {}, **counts},
    }


def test_text_of_the_corpus_cannot_act_in_the_card() -> None:
    hostile = "x\n# | <script>`a`</script> [l](javascript:1) & \u202e日本"

    (line,) = [row for row in card(ABOUT, manifest(license={hostile: 3}), ".parquet").split("\n") if "script" in row]

    assert line == (
        "| x # &#124; &lt;script&gt;&#96;a&#96;&lt;/script&gt; &#91;l](javascript:1) &amp;  日本 | 3 | 100\u202f% |"
    )


def test_the_header_names_languages_by_their_primary_tag_and_the_files() -> None:
    lang = {"en-US": 1, "EN": 1, "日本語": 1, "": 1, "x": 1, "fil": 1}

    header = yaml.safe_load(card(ABOUT, manifest(lang=lang), ".jsonl.zst").split("---\n")[1])

    assert header["language"] == ["en", "fil"]
    assert header["configs"] == [{"config_name": "default", "data_files": "*.jsonl.zst"}]


@pytest.mark.parametrize(("documents", "size"), [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**13, "n>1T")])
def test_the_size_category_is_that_of_the_number_of_documents(documents: int, size: str) -> None:
    header = yaml.safe_load(card(ABOUT, manifest(documents), ".parquet").split("---\n")[1])

    assert header["size_categories"] == [size]


def test_many_values_are_cut_short_and_too_many_are_said_to_be_so() -> None:
    many = card(ABOUT, manifest(200, source={f"site-{i:03}": 1 for i in range(200)}, license=None), ".parquet")

    assert many.count("| site-") == 50
    assert "| others | 150 | 75.0\u202f% |" in many
    assert "## License\n\nToo many different values to list here." in many


def test_croissant_lists_every_file_with_its_checksum() -> None:
    found = croissant(ABOUT, manifest(), ".parquet")

    assert [(f["contentUrl"], f["sha256"]) for f in found["distribution"] if "sha256" in f] == [
        ("part-00000.parquet", "00")
    ]
