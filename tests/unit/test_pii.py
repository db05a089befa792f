"""Identifiers of people: what is found, what is left alone, and what the rewritten text is."""

import json
import time
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.base import measure
from stages.identifiers.checks import IBAN_LENGTHS, is_card, is_iban, is_public_ip4, is_public_ip6
from stages.text.pii import KINDS, Pii

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
BLOCK = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\nq83v+/=\n-----END RSA PRIVATE KEY-----"
FOUND = {
    "email": [
        "jane@site.org", "jane.doe+news@mail.site.co.uk", "J_D-1%x@a-b.io", "jane@müller.de", "jane@例え.jp",
        "почта@пример.рф", "élodie@site.fr", "jane@xn--mller-kva.xn--p1ai", "42@site.museum", "x@1.2.com",
    ],
    "ip": ["8.8.8.8", "193.38.48.94", "255.1.1.1".replace("255", "223"), "2606:4700:4700::1111", "2a00:1450:4001:81b:0:0:0:200e"],
    "phone": [
        "+1 212-555-0123", "+12125550123", "+44 20 7946 0123", "+49 (0)30 1234567", "+86 138 0013 8000", "212-555-0123",
        "(212) 555-0123", "212.555.0123", "1-800-555-0199", "020 7946 0123", "03-1234-5678", "090-1234-5678",
        "01 23 45 67 89", "01.23.45.67.89", "+33 1 23 45 67 89",
    ],
    "iban": ["DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "GB82 WEST 1234 5698 7654 32", "NO93 8601 1117 947", "FR14 2004 1010 0505 0001 3M02 606"],
    "card": ["4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "5555555555554444", "2223003122003222", "378282246310005", "3782 822463 10005", "6011111111111117", "3530111333300000", "30569309025904", "6200000000000005"],
    "key": [
        "AKIAIOSFODNN7EXAMPLE", "ghp_" + "a1B2" * 9, "github_pat_" + "A" * 22 + "_" + "b" * 59, "AIza" + "Sy0" * 11 + "ab",
        "xoxb-123456789012-abcdefghij", "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc", "sk-proj-" + "aB3_" * 10, "npm_" + "z9" * 18,
        "glpat-" + "x" * 20, "hf_" + "aB" * 17, TOKEN, BLOCK,
    ],
}  # fmt: skip
NEAR_MISSES = [
    "10.0.0.1 172.16.3.4 192.168.1.1 127.0.0.1 169.254.1.1 100.64.0.9 224.0.0.251 192.0.2.7 198.51.100.1 203.0.113.9",
    "version 1.2.3.4, v1.2.3.4, Release 9.9.9.9; section 4.3.2.1 § 5.4.3.2",
    "4.3.2.1 Heading\n  4.3.2.1. Heading\n• 4.3.2.1 Überschrift",
    "256.1.1.1 08.08.08.08 1.2.3.4.5 1.2.3 8.8.8.8a",
    "fe80::1 ::1 2001:db8::1 std::vector A::B 12:34:56 aa:bb:cc:dd:ee:ff",
    "jane@site a@b @site.org jane@ @@ jane@@site.org a@b@site.org logo@2x.png x@y.z jane@-site.org",
    "4111 1111 1111 1112, 4111111111111112, 1234567812345670, 41111111111111110, 0.4111111111111111",
    "1999 2000 2001 2002 2003 2004, 4111 1111 1111 1111 2000",
    "DE89 3704 0044 0532 0130 01, DE893704004405320130001, XX00 1234 5678 9012, AB12 CD34",
    "2024-01-15 10:30, 12/31/1999, 978-0-306-40615-7, 1,234,567,890, $1 234 567, 3.14159265358979",
    "112-555-0123 212-155-0123 1212-555-0123 212-555-01234 +2.123456789 0123 456",
    "sk-circle-fade-dot-and-more-of-it AKIAIOSFODNN7EXAMPL ghp_short eyJhbGciOiJIUzI1NiJ9.abc",
    "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
    "-----BEGIN PRIVATE KEY----- without an end",
]
FRAMES = [
    "{}",
    "({}).",
    "a {} b",
    "call: {}!",
    "今天{}天气",
    "“{}”",
    "שלום {} עולם",
    "👍{}👍",
    "line\n{}\nline",
    "<{}>",
    "é{}é",
]


def measured(texts: list[str], **fields: Any) -> dict[str, list[Any]]:
    stage = Pii(**fields)
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())})
    answer: dict[str, list[Any]] = measure(stage, stage.open(), batch).to_pydict()
    return answer


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in FOUND.items() for text in texts])
def test_an_identifier_is_found_and_replaced_whatever_stands_around_it(kind: str, text: str) -> None:
    frames = FRAMES[:-1] if kind == "email" else FRAMES  # an accented letter is part of an address

    answer = measured([frame.format(text) for frame in frames])

    assert answer["text"] == [frame.format(KINDS[kind]) for frame in frames]
    assert answer[f"{kind}s"] == answer["found"] == [1] * len(frames)


@pytest.mark.parametrize("text", NEAR_MISSES)
def test_what_only_looks_like_an_identifier_stays(text: str) -> None:
    answer = measured([text])

    assert (answer["text"], answer["spans"]) == ([text], [[]])


@pytest.mark.parametrize(
    "text",
    [
        "Tel: 030 123456",
        "telephone 12 34 56 78",
        "Fax 5550199",
        "Téléphone : 0123456",
        "电话：6552 9988",
        "هاتف 0123 4567",
        "Handy. 0171/1234567",
    ],
)
def test_after_a_word_for_telephone_less_regular_numbers_count(text: str) -> None:
    digits = text[text.index(next(c for c in text if c.isdigit())) :]

    assert measured([text, digits, "hotel " + digits])["phones"] == [1, 0, 0]
    assert measured([text])["text"] == [text.replace(digits, "[PHONE]")]


def test_spans_are_bytes_of_the_given_text_in_order_and_name_their_kinds() -> None:
    text = "猫 8.8.8.8, jane@site.org 👍 " + TOKEN
    raw = text.encode()

    (spans,) = measured([text])["spans"]

    assert [(raw[s["begin"] : s["end"]].decode(), s["kind"]) for s in spans] == [
        ("8.8.8.8", "ip"),
        ("jane@site.org", "email"),
        (TOKEN, "key"),
    ]


def test_addresses_in_links_are_found_and_the_links_stay_whole() -> None:
    answer = measured(["<a href='mailto:jane@site.org?subject=x'>jane@site.org</a> https://h/?to=jane@site.org&x=1"])

    assert answer["text"] == [
        "<a href='mailto:email@example.com?subject=x'>email@example.com</a> https://h/?to=email@example.com&x=1"
    ]


def test_a_replacement_can_be_chosen_or_left_out_for_each_kind() -> None:
    text = "jane@site.org 8.8.8.8"

    assert measured([text], email="<EMAIL>", ip=None)["text"] == ["<EMAIL> 8.8.8.8"]
    assert measured([text], email="<EMAIL>", ip=None)["ips"] == [1]


def test_an_empty_replacement_is_refused() -> None:
    with pytest.raises(ValidationError, match="an empty replacement joins what stands around it"):
        Pii(email="")


def test_one_kind_goes_before_another_where_they_overlap() -> None:
    answer = measured(["4111111111111111@site.org"])

    assert (answer["emails"], answer["cards"], answer["found"]) == ([1], [0], [1])


PARTS = st.one_of(
    st.sampled_from([text for texts in FOUND.values() for text in texts] + NEAR_MISSES + list(KINDS.values())),
    st.sampled_from([" ", "", ".", "-", "@", "+", ":", "(", ")", "\n", "a", "É", "猫", "1", "22", "Tel ", "::", "_", "/", " 4", "com", "\u00a0"]),
    st.text(max_size=3),
)  # fmt: skip


@given(st.lists(PARTS, max_size=12).map("".join))
@settings(max_examples=600, deadline=None)
def test_a_rewritten_text_stays_as_it_is(text: str) -> None:
    first = measured([text])
    (rewritten,) = first["text"]
    again = measured([rewritten])

    assert again["text"] == [rewritten]
    assert again["found"] == [0]


@given(st.lists(PARTS, max_size=12).map("".join))
@settings(max_examples=300, deadline=None)
def test_spans_do_not_overlap_and_say_how_the_text_was_rewritten(text: str) -> None:
    answer = measured([text])
    (spans,), raw = answer["spans"], text.encode()
    parts, at = [], 0
    for span in spans:
        assert at <= span["begin"] < span["end"] <= len(raw)
        parts += [raw[at : span["begin"]], KINDS[span["kind"]].encode()]
        at = span["end"]

    assert b"".join([*parts, raw[at:]]).decode() == answer["text"][0]
    assert [len(spans)] == answer["found"]


@pytest.mark.parametrize(
    "unit",
    ["@", "a@", "a@b.", "1", "1 ", "1.", "+1", "12:", ":", "a:b::", "(1", "DE89 ", "eyJ-", "eyJa.", "sk-", "-----BEGIN PRIVATE KEY-----", "1234567\n", "4111 ", "é@", "a.", "-", "AKIA", "Tel 1234567 ", "8.8.8.8 "],
)  # fmt: skip
def test_a_megabyte_of_one_thing_is_done_in_moments(unit: str) -> None:
    text = unit * (1_000_000 // len(unit.encode()))
    start = time.process_time()

    measured([text])

    assert time.process_time() - start < 20


def test_a_corpus_of_mails_is_cleaned_of_every_address_that_has_a_domain() -> None:
    mails = [json.dumps({"from": f"user{i}@host{i}.org", "ip": f"193.38.{i}.94"}) for i in range(200)]

    answer = measured(mails)

    assert answer["emails"] == answer["ips"] == [1] * 200
    assert all("@host" not in text and "193." not in text for text in answer["text"])


def test_checksums_and_registries_decide_as_published() -> None:
    assert is_card("79927398713") is False  # Luhn's own example is no issuer's
    assert [is_card(c) for c in ("4242424242424242", "4242424242424241", "6759649826438453")] == [True, False, False]
    assert is_iban("GB82WEST12345698765432") is True
    assert is_iban("GB28WEST12345698765432") is False
    assert is_iban("GB82WEST1234569876543") is False
    assert min(IBAN_LENGTHS.values()) == IBAN_LENGTHS["NO"]
    assert [is_public_ip4(a) for a in ("1.1.1.1", "10.1.1.1", "172.32.0.1", "172.31.0.1", "240.0.0.1", "1.1.1")] == [
        True, False, True, False, False, False,
    ]  # fmt: skip
    assert [is_public_ip6(a) for a in ("2001:4860:4860::8888", "fc00::1", "2001:db8::8", "::ffff:8.8.8.8")] == [
        True, False, False, False,
    ]  # fmt: skip
