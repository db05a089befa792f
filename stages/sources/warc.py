"""Web archives: the text of HTML pages."""

import re
import zlib
from collections.abc import Callable
from typing import Literal

from stages.sources.base import Input, Source
from stages.sources.decompress import Flaw, plain
from stages.sources.record import Refused, compact
from stages.sources.rows import Rows
from stages.sources.warc_records import WarcRecord, fields, records

Extract = Callable[[bytes, str], str]

HTML = frozenset({"text/html", "application/xhtml+xml"})
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_ENTITY_HEADER_LIMIT = 1 << 18


class Warc(Source):
    """WARC files, plain, gzip or zstd: the pages of `response` records whose type is HTML, as text by resiliparse.

    `extract: main` keeps the main content, `all` the whole visible text. A page's encoding is the one of the HTTP
    header, else of the page's own meta element or byte order mark, else as detected. Its `url` is the target's,
    `snapshot` the record's date, and `meta` holds the record's id and the HTTP status. Other records, other types and
    answers without success (not 2xx) are not documents; they are counted as skipped, by reason. A record's ordinal
    counts all records. Broken lengths and HTTP that cannot be decoded are malformed.
    """

    kind: Literal["warc"] = "warc"

    extract: Literal["main", "all"] = "main"

    def read(self, file: Input, rows: Rows) -> None:
        """Add the pages of `file`."""
        to_text = _extractor(main=self.extract == "main")
        ordinal = 0
        try:
            for record in records(plain(file.blocks(), self.max_file_bytes), self.max_record_bytes):
                try:
                    self._add(record, ordinal, rows, to_text)
                except Refused as why:
                    message = f"{file.path}, byte {record.position} (record {ordinal}): {why.message}"
                    rows.malformed(ordinal, why.reason, message)
                ordinal += 1
        except Flaw as flaw:
            message = f"{file.path}, after {ordinal} records: {flaw.message}"
            rows.malformed(ordinal, flaw.reason, message)

    def _add(self, record: WarcRecord, ordinal: int, rows: Rows, to_text: Extract) -> None:
        if record.broken:
            raise Refused(*record.broken)
        kind = record.headers.get("warc-type", "none")
        if kind != "response":
            rows.skip(f"record of type {_word(kind)}")
            return
        if not record.body.startswith(b"HTTP/"):
            rows.skip("response without HTTP")
            return
        status, headers, payload = _http(record.body)
        content_type = headers.get("content-type", "none").partition(";")[0].strip().lower()
        if not 200 <= status < 300:  # noqa: PLR2004  # success, RFC 9110
            rows.skip(f"HTTP status {status // 100}xx")
            return
        if content_type not in HTML:
            rows.skip(f"content type {_word(content_type)}")
            return
        html = _decoded(payload, headers, self.max_record_bytes)
        text = to_text(html, headers.get("content-type", "")).encode("utf-8", "replace")
        if len(text) > self.max_document_bytes:
            message = f"its text has {len(text)} bytes, more than max_document_bytes = {self.max_document_bytes}"
            raise Refused("too-large", message)
        url = record.headers.get("warc-target-uri", "").strip("<>") or None
        meta = compact({"status": status, "warc_record_id": record.headers.get("warc-record-id", "").strip("<>")})
        rows.add((ordinal, text, None, None, url, record.headers.get("warc-date"), None, None, None, meta))


def _extractor(*, main: bool) -> Extract:
    from resiliparse.extract.html2text import extract_plain_text  # noqa: PLC0415  # only where pages are read
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding, map_encoding_to_html5  # noqa: PLC0415  # the same
    from resiliparse.parse.html import HTMLTree  # noqa: PLC0415  # the same

    def extract(html: bytes, content_type: str) -> str:
        named = _CHARSET.search(content_type)
        encoding = map_encoding_to_html5(named[1], fallback_utf8=False) if named else None
        encoding = encoding or detect_encoding(html, from_html_meta=True) or "utf-8"
        tree = HTMLTree.parse(bytes_to_str(html, encoding, errors="replace"))
        text: str = extract_plain_text(tree, main_content=main, alt_texts=False)
        return text

    return extract


def _http(body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, header fields by lower-case name, and payload of an HTTP answer."""
    ends = [
        (e, n)
        for e, n in (
            (body.find(b"\r\n\r\n", 0, _ENTITY_HEADER_LIMIT), 4),
            (body.find(b"\n\n", 0, _ENTITY_HEADER_LIMIT), 2),
        )
        if e >= 0
    ]
    if not ends:
        raise Refused("bad-http", "its HTTP header has no end")
    end, length = min(ends)
    head = body[:end]
    parts = head.split(b"\n", 1)[0].split(None, 2)
    if len(parts) < 2 or not parts[1].isdigit() or len(parts[1]) != 3:  # noqa: PLR2004  # three digits
        raise Refused("bad-http", f"its HTTP status line is {head[:60]!r}")
    return int(parts[1]), fields(head), body[end + length :]


def _decoded(payload: bytes, headers: dict[str, str], max_bytes: int) -> bytes:
    """The payload without transfer and content encodings; archives may have removed them and kept the header."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        payload = _dechunked(payload)
    coding = headers.get("content-encoding", "").lower()
    if coding in {"gzip", "x-gzip"} and payload[:2] == b"\x1f\x8b":
        return _inflated(payload, 31, max_bytes)
    if coding == "deflate" and payload[:1] == b"\x78":
        return _inflated(payload, 15, max_bytes)
    return payload


def _inflated(payload: bytes, window_bits: int, max_bytes: int) -> bytes:
    inflate = zlib.decompressobj(window_bits)
    try:
        plain_bytes = inflate.decompress(payload, max_bytes)
    except zlib.error as error:
        raise Refused("bad-http", f"its content encoding is corrupt ({error})") from error
    if inflate.unconsumed_tail:
        raise Refused("too-large", f"its decoded content has more than {max_bytes} bytes")
    return plain_bytes


def _dechunked(payload: bytes) -> bytes:
    """The chunks joined, or the payload as it is where it is not chunked after all."""
    parts: list[bytes] = []
    at = 0
    while True:
        end = payload.find(b"\r\n", at, at + 1024)
        size = payload[at:end].partition(b";")[0].strip() if end >= 0 else b""
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", size):
            return payload if not parts else b"".join(parts)
        length = int(size, 16)
        if not length:
            return b"".join(parts)
        parts.append(payload[end + 2 : end + 2 + length])
        at = end + 4 + length


def _word(text: str) -> str:
    """Hostile text as a short word for a counter."""
    word = re.sub(r"[^\w/+.-]", "?", text)[:40]
    return word or "none"
