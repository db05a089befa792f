"""What identifies people in a document: addresses, numbers and keys, counted and replaced."""

import itertools
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import field_validator

from stages.base import Columns, Example, Kernel, RowStage, column

#: The kinds in the order of their columns, with what stands for each where a spec does not say.
KINDS = {
    "email": "email@example.com",
    "ip": "192.0.2.1",
    "phone": "[PHONE]",
    "iban": "[IBAN]",
    "card": "[CARD]",
    "key": "[KEY]",
}
_COUNT = pa.int32()
SPAN = pa.struct([("begin", pa.int64()), ("end", pa.int64()), ("kind", pa.string())])


class Pii(RowStage):
    """How many identifiers of people a document has by kind, where they are, and its text with each replaced.

    - `email`: addresses with a domain of two labels or more, in Latin, Greek or Cyrillic letters before the @ and any
      after it, wherever they stand (mailto:, URLs, between ideographs); not `logo@2x.png`.
    - `ip`: public IPv4 and IPv6 addresses; private, reserved and documentation blocks stay, and so do four numbers
      after a word like "version", in a longer run of numbers, or with a leading zero.
    - `phone`: + and a country code; 212-555-0123 and (212) 555-0123; 10 or 11 digits with a leading 0 in groups, or
      01 23 45 67 89; and after a word for telephone in one of a dozen languages anything of 7 to 14 digits.
    - `iban`: the country's length and the check digits (mod 97). `card`: 13 to 19 digits in one run or in groups, with
      an issuer's prefix and length and Luhn's check digit.
    - `key`: keys of AWS, Google, GitHub, GitLab, Slack, Stripe, OpenAI and those like it, npm, Hugging Face; JSON Web
      Tokens; blocks of private keys with their end, of up to 20,000 bytes.

    Each field says what is written in place of its kind; null leaves it in the text, counted all the same. Two kinds
    never overlap: key before email, IBAN, card, ip and phone. What equals a replacement is no identifier, and what a
    replacement sets free is found too (in at most eight rounds), so that a text which was rewritten stays as it is.

    Patterns find shapes, not people: names and street addresses are left, and some numbers are no telephone's. Linear
    in the text; most text is passed once by a kernel over its bytes.

    Sources: FineWeb (arXiv:2406.17557) replaces emails and public IP addresses; ISO 13616 and 7064 (IBAN), ISO 7812
    (cards), RFC 6890 and 4291 (addresses), ITU-T E.164 (telephone numbers).
    """

    kind: Literal["pii"] = "pii"
    writes: ClassVar = pa.schema(
        [
            column("text", pa.string(), "text", doc="with every identifier replaced"),
            column("emails", _COUNT, "identifiers", better="lower"),
            column("ips", _COUNT, "identifiers", better="lower", doc="public addresses, version 4 and 6"),
            column("phones", _COUNT, "identifiers", better="lower"),
            column("ibans", _COUNT, "identifiers", better="lower"),
            column("cards", _COUNT, "identifiers", better="lower"),
            column("keys", _COUNT, "identifiers", better="lower", doc="API keys, tokens, private keys"),
            column("found", _COUNT, "identifiers", better="lower", doc="of all kinds"),
            column("spans", pa.list_(SPAN), "bytes", doc="begin, end and kind of each, in the text given"),
        ]
    )
    examples: ClassVar = (
        Example(
            "Write to jane.doe@mail.example.org or +44 20 7946 0123.",
            {
                "text": "Write to email@example.com or [PHONE].",
                "emails": 1,
                "phones": 1,
                "spans": [{"begin": 9, "end": 34, "kind": "email"}, {"begin": 38, "end": 54, "kind": "phone"}],
            },
        ),
        Example("Not 10.0.0.1, but 8.8.4.4; version 1.2.3.4", {"text": "Not 10.0.0.1, but 192.0.2.1; version 1.2.3.4", "ips": 1}),
        Example("DE89 3704 0044 0532 0130 00, 4111 1111 1111 1111", {"text": "[IBAN], [CARD]", "found": 2}),
        Example("DE89 3704 0044 0532 0130 01, 4111 1111 1111 1112", {"found": 0, "spans": []}),
        Example("联系我foo@例子.cn。", {"text": "联系我foo@例子.cn。", "emails": 1}, {"email": None}),
        Example("", {"text": "", "found": 0}),
    )  # fmt: skip

    email: str | None = KINDS["email"]
    ip: str | None = KINDS["ip"]
    phone: str | None = KINDS["phone"]
    iban: str | None = KINDS["iban"]
    card: str | None = KINDS["card"]
    key: str | None = KINDS["key"]

    @field_validator(*KINDS)
    @classmethod
    def _is_something(cls, value: str | None) -> str | None:
        if value == "":
            raise ValueError("an empty replacement joins what stands around it; write a word, or null to leave it")
        return value

    def open(self) -> Kernel:
        """Compile or load the kernel."""
        from stages.identifiers.search import replaced, search  # noqa: PLC0415 - numba is slow to import

        given: dict[str, str | None] = {kind: getattr(self, kind) for kind in KINDS}
        placeholders = {kind: text or KINDS[kind] for kind, text in given.items()}

        def kernel(batch: pa.RecordBatch) -> Columns:
            texts = batch[self.text]
            found = search(texts, placeholders)
            rewritten = {
                row: replaced(texts[row].as_buffer().to_pybytes(), s, given).decode() for row, s in found.items()
            }
            return _columns(texts, found, rewritten)

        return kernel


def _columns(texts: pa.StringArray, found: dict[int, list[tuple[int, int, str]]], rewritten: dict[int, str]) -> Columns:
    rows = range(len(texts))
    counts = {kind: [0] * len(texts) for kind in KINDS}
    for row, spans in found.items():
        for _, _, kind in spans:
            counts[kind][row] += 1
    kept: Any = texts
    if rewritten:
        mask = pa.array([row in rewritten for row in rows], pa.bool_())
        kept = pa.compute.replace_with_mask(
            texts, mask, pa.array([rewritten[r] for r in rows if r in rewritten], pa.string())
        )
    every = [found.get(row, []) for row in rows]
    flat = list(itertools.chain.from_iterable(every))
    names = ("begin", "end", "kind")
    values = [pa.array([s[k] for s in flat], SPAN.field(k).type) for k in range(3)]
    offsets = pa.array([0, *itertools.accumulate(map(len, every))], pa.int32())
    return {
        "text": kept,
        **{f"{kind}s": pa.array(counts[kind], _COUNT) for kind in KINDS},
        "found": pa.array([len(spans) for spans in every], _COUNT),
        "spans": pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(values, names), pa.list_(SPAN)),
    }
