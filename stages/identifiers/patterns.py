"""What identifiers look like in UTF-8. Every pattern reads a bounded number of bytes from where it begins."""

import re
from collections.abc import Iterator

from stages.identifiers.checks import IBAN_LENGTHS, is_card, is_iban, is_public_ip4, is_public_ip6

#: A letter that is not ASCII, nearly: no general punctuation, no CJK or full-width punctuation.
_TWO, _THREE = rb"[\xc3-\xdf][\x80-\xbf]", rb"(?:[\xe0\xe1\xe4-\xed][\x80-\xbf]{2}|\xe3[\x81-\xbf][\x80-\xbf])"
_LETTER = rb"(?:" + _TWO + rb"|" + _THREE + rb")"
_NAME = rb"(?:[A-Za-z0-9_%+-]|[\xc3-\xd4][\x80-\xbf])"
_LABEL = rb"(?:[A-Za-z0-9]|" + _LETTER + rb")(?:(?:[A-Za-z0-9-]|" + _LETTER + rb"){0,61}(?<!-))?"
_TOP = rb"(?:xn--[A-Za-z0-9-]{1,59}|[A-Za-z]{2,24}|(?:" + _TWO + rb"){2,24}|" + _THREE + rb"{2,24})"
EMAIL = re.compile(
    _NAME + rb"{1,64}(?:\." + _NAME + rb"{1,64}){0,16}@(?:" + _LABEL + rb"\.){1,8}" + _TOP + rb"(?![A-Za-z0-9@])"
)
#: Last labels that are endings of files: `logo@2x.png` is none.
_FILES = frozenset(
    b"png jpg jpeg gif svg webp avif bmp ico css js mjs ts jsx tsx map html htm php json xml pdf".split()
)

IP4 = re.compile(rb"(?<![A-Za-z0-9_.])(?:\d{1,3}\.){3}\d{1,3}(?![A-Za-z0-9_]|\.\d)")
#: What makes four numbers with dots a version or a section.
_VERSION = re.compile(
    "(?:(?<![A-Za-z])(?:v|ver|versions?|releases?|rev|revision|build|firmware|chapter|kapitel|section|sections|abschnitt"
    "|sección|[a-z]-)|§)(?:[.: ]|\u00a0){0,2}\\Z".encode(),
    re.IGNORECASE,
)
#: Where a line begins within the 16 bytes before, marks of lists aside: there, four numbers of one or two digits before
#: a capital number a section.
_LINE = re.compile(rb"(?:\A|\n)[\t -/:-@\[-`{-~\xc2\xe2\x80-\xbf]{0,15}\Z")
_HEADING = re.compile(rb"\d\d?(?:\.\d\d?){3}\.?(?:[ \t]|\xc2\xa0){1,8}[A-Z\xc3-\xf4]")

CARD = re.compile(
    rb"(?<![A-Za-z0-9_.])(?<!\d[ -])(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{4,5})(?![A-Za-z0-9_]|\.\d|[ -]\d)"
)

_SEP = rb"(?:[ .\-/]|\xc2\xa0)?"
_GAP = rb"(?:[ .\-/()]|\xc2\xa0){0,2}"
_NOT_AFTER, _NOT_BEFORE = rb"(?<![A-Za-z0-9_.+-])", rb"(?![A-Za-z0-9_]|[-.]\d)"
PHONES = (
    re.compile(
        rb"(?<![A-Za-z0-9_+])\+(?:1" + _SEP + rb"\(?[2-9]\d{2}\)?" + _GAP + rb"\d{3}" + _SEP + rb"\d{4}"
        rb"|(?![2-9]\.)[2-9](?:" + _GAP + rb"\d){7,13})(?![A-Za-z0-9_])"
    ),
    # North America: 212-555-0123, (212) 555-0123, 1.212.555.0123
    re.compile(
        _NOT_AFTER + rb"(?:1[-. ])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}([-.]))[2-9]\d{2}(?(1)\1|[-.])\d{4}" + _NOT_BEFORE
    ),
    # with a leading zero: 020 7946 0123, 03-1234-5678, 01 23 45 67 89
    re.compile(
        _NOT_AFTER + rb"(?<!\d )(?:\(0[1-9]\d{0,3}\) ?|0[1-9]\d{0,3}([ -]))\d{2,4}[ -]\d{3,4}(?![A-Za-z0-9_]|[ .-]\d)"
    ),
    re.compile(_NOT_AFTER + rb"(?<!\d )0[1-9]([ .-])\d{2}(?:\1\d{2}){3}(?![A-Za-z0-9_]|[ .-]?\d)"),
)
_ZERO_DIGITS = (10, 11)
#: A word for telephone just before a number lets less regular ones count.
_CUE = re.compile(
    "(?:(?<![A-Za-z])(?:tele(?:ph|f)on[eo]?|tel|t[ée]l[ée]phone|teléfono|phone|fax|mobile?|handy|whatsapp|tlf)"
    "|тел|факс|电话|電話|手机|전화|هاتف|טלפון|โทร)[^0-9\n]{0,10}\\Z".encode(),
    re.IGNORECASE,
)
_CUED = re.compile(rb"[+(]?\d(?:" + _GAP + rb"\d){6,13}(?![A-Za-z0-9_]|" + _GAP + rb"\d)")
_CUE_BYTES = 48

KEYS = re.compile(
    rb"(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Za-z0-9])"
    rb"|AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"
    rb"|gh[pousr]_[A-Za-z0-9]{36,255}(?![A-Za-z0-9])|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}(?![A-Za-z0-9])"
    rb"|glpat-[A-Za-z0-9_-]{20,64}(?![A-Za-z0-9_-])|npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])|hf_[A-Za-z]{34}(?![A-Za-z0-9])"
    rb"|xox[abeoprs]-[A-Za-z0-9-]{10,250}(?![A-Za-z0-9-])"
    rb"|[sr]k_(?:live|test)_[A-Za-z0-9]{16,247}(?![A-Za-z0-9])"
    rb"|sk-(?=[A-Za-z0-9_-]{0,200}[A-Z])(?=[A-Za-z0-9_-]{0,200}\d)[A-Za-z0-9_-]{20,200}(?![A-Za-z0-9_-])"
    rb"|eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{16,2000}(?![A-Za-z0-9_-])"
)
_KEY_BLOCK = re.compile(rb"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_KEY_END = re.compile(rb"-----END (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_KEY_BYTES = 20_000

_IBAN_BYTES = 68

Span = tuple[int, int]


def email(text: bytes, begin: int, _end: int) -> Iterator[Span]:
    """The address whose local part begins at `begin`."""
    found = EMAIL.match(text, begin)
    if found and text[begin - 1 : begin] != b"@" and found[0].rpartition(b".")[2].lower() not in _FILES:
        yield found.span()


def ip4(text: bytes, begin: int, end: int) -> Iterator[Span]:
    """The public addresses within a run of digits, versions left out."""
    for found in IP4.finditer(text, begin, end + 2):
        if is_public_ip4(found[0].decode()) and not _numbers_something(text, found):
            yield found.span()


def _numbers_something(text: bytes, found: re.Match[bytes]) -> bool:
    """Whether four numbers are a version or a section's."""
    before = text[max(0, found.start() - 16) : found.start()]
    if _VERSION.search(before):
        return True
    return _HEADING.match(text, found.start()) is not None and _LINE.search(before) is not None


def ip6(text: bytes, begin: int, end: int) -> Iterator[Span]:
    """The public address that a run of hexadecimal digits, colons and dots is, a final dot or colon aside."""
    run = text[begin:end].rstrip(b".")
    run = run[:-1] if run.endswith(b":") and not run.endswith(b"::") else run
    beside = text[max(0, begin - 1) : begin] + text[begin + len(run) : begin + len(run) + 1]
    if not re.search(rb"[A-Za-z0-9_:]", beside) and is_public_ip6(run.decode()):
        yield begin, begin + len(run)


def iban(text: bytes, begin: int, _end: int) -> Iterator[Span]:
    """The IBAN at `begin`, in one word or in groups."""
    wanted = IBAN_LENGTHS.get(text[begin : begin + 2].decode())
    window = text[begin : begin + _IBAN_BYTES]
    if wanted is None or not is_iban(window.replace(b" ", b"")[:wanted].decode("ascii", "replace")):
        return
    shape = rb"[A-Z0-9](?: ?[A-Z0-9]){%d}(?![A-Za-z0-9_])" % (wanted - 1)
    if found := re.match(shape, window):
        yield begin, begin + found.end()


def card(text: bytes, begin: int, end: int) -> Iterator[Span]:
    """The numbers of payment cards within a run of digits."""
    for found in CARD.finditer(text, begin, end + 2):
        if is_card(re.sub(rb"\D", b"", found[0]).decode()):
            yield found.span()


def phone(text: bytes, begin: int, end: int) -> Iterator[Span]:
    """The telephone numbers within a run of digits."""
    if _CUE.search(text, max(0, begin - _CUE_BYTES), begin) and (found := _CUED.match(text, begin, end + 2)):
        yield found.span()
        begin = found.end()
    if end - begin < _ZERO_DIGITS[0] and text[begin : begin + 1] != b"+":
        return  # too short for any other
    for pattern in PHONES:
        for found in pattern.finditer(text, begin, end + 2):
            digits = len(re.sub(rb"\D", b"", found[0]))
            if pattern is not PHONES[2] or digits in _ZERO_DIGITS:
                first, last = found.span()
                opened = text[first - 1 : first] == b"(" and b")" in found[0] and b"(" not in found[0]
                yield first - opened, last


def api_key(text: bytes, begin: int, _end: int) -> Iterator[Span]:
    """The key, token or block of a private key that begins at `begin`."""
    if found := KEYS.match(text, begin):
        yield found.span()
    elif (block := _KEY_BLOCK.match(text, begin)) and (last := _KEY_END.search(text, block.end(), begin + _KEY_BYTES)):
        yield begin, last.end()
