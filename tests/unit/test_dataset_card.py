import json
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from pipelines.dataset_card import About, beside, card, croissant

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


def test_the_card_of_a_token_format_says_how_to_load_it_and_what_the_ids_are() -> None:
    tokens = {
        "tokenizer": "bpe-12",
        "vocabulary": 300,
        "end_of_text": 7,
        "dtype": "uint16",
        "ended": True,
        "once": True,
    }
    pairs = [f"part-{i:05d}{end}" for i in range(6) for end in (".bin", ".idx")]
    told = manifest() | {
        "kind": "megatron",
        "tokens": tokens,
        "files": [{"name": name, "bytes": 9, "sha256": "00"} for name in pairs],
        "beside": [{"name": "tokenizer.json", "bytes": 3, "sha256": "11"}],
        "schema": [{"name": "tokens", "type": "list<item: uint32>"}],
    }
    told["total"] = told["total"] | {"tokens": 1234}

    files = beside(ABOUT, told, ".bin")

    text = files["README.md"].decode().replace("\u202f", " ")
    assert "3 documents, 30 B of text, 1,234 tokens in 12 files" in text
    assert (
        "6 pairs of files, each drawn from by its size:\n\n```sh\n--data-path part-00000 part-00001 part-00002 part-00003 ...\n"
        in text
    )
    assert (
        "Token ids are of the tokenizer `bpe-12` (300 entries, written as uint16), which lies beside the data. The end-of-text "
        "token (7) follows each document. Every document is there once, however often the selection reads it.\n"
    ) in text
    assert "| `tokens` | ids of the tokens |" in text
    assert "configs" not in yaml.safe_load(text.split("---\n")[1])
    assert files["SHA256SUMS"].decode().splitlines()[-2:] == ["00  part-00005.idx", "11  tokenizer.json"]
    assert "recordSet" not in json.loads(files["croissant.json"])


def test_croissant_gives_measured_columns_their_types() -> None:
    columns = {"text": "string", "words": "int64", "p_en": "float", "kept": "bool", "tokens": "list<item: uint32>"}
    told = manifest() | {"schema": [{"name": name, "type": kind} for name, kind in columns.items()]}

    fields = croissant(ABOUT, told, ".parquet")["recordSet"][0]["field"]

    assert {f["name"]: (f["dataType"], f.get("repeated", False)) for f in fields} == {
        "text": ("sc:Text", False),
        "words": ("sc:Integer", False),
        "p_en": ("sc:Float", False),
        "kept": ("sc:Boolean", False),
        "tokens": ("sc:Integer", True),
    }
