"""Text with its encoding accidents repaired: mojibake, HTML entities, NFC, control characters, white space."""

import functools
import importlib.metadata
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import ClassVar, Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from stages.base import Columns, Example, Kernel, RowStage, column
from stages.composition import composed

Texts: TypeAlias = pa.StringArray

#: Control characters without meaning in text: C0 and C1 except white space, DEL, deprecated Arabic
#: format characters, interlinear annotation, object replacement, byte order mark. (Joiners and
#: direction marks are needed by scripts and emoji and stay.)
CONTROL = r"[\x00-\x08\x0e-\x1f\x7f-\x{84}\x{86}-\x{9f}\x{206a}-\x{206f}\x{feff}\x{fff9}-\x{fffc}]"
BREAK = r"\r\n|[\r\x0b\x0c\x{85}\x{2028}\x{2029}]"
SPACE = r"[\x{a0}\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}]"
TRAILING, BLANK_LINES, EDGES = r"[ \t]+\n", r"\n{3,}", r"\A[ \t\n]+|[ \t\n]+\z"

ENTITY = r"&#?[0-9A-Za-z]{1,24};"
ESCAPE = r"\x1b\["
#: ftfy repeats its fixes until nothing changes, which hostile text can prolong at will (`&amp;amp;amp;...`).
ROUNDS = 4
BLOCK_CHARS = 1_000_000


class Normalize(RowStage):
    """The text as its author most likely meant it, and by how many characters that is shorter.

    Four switches, in this order. `ftfy`: mojibake, C1 letters, HTML entities (not after a `<`: then it is
    HTML), ligatures such as U+FB01 and terminal escapes, line by line, in at most four rounds; quotes and
    character widths stay, because they are orthography. `control`: control characters go. `whitespace`:
    every line end is a newline, every wide or unbreakable space a space, at most one blank line in a row,
    none at either end, no space before a line end; indentation stays. `nfc`: Unicode NFC (a text with
    200 combining marks in a row is no text and stays as it is).

    `chars_removed` is negative where the text grew (a ligature taken apart). Every switch takes time
    linear in the text. Documents in which nothing can need fixing are recognized by one pass of a
    regular expression over the bytes and are not touched.

    Source: ftfy (Speer 2019, doi:10.5281/zenodo.2591652), whose version is part of the identity.
    """

    kind: Literal["normalize"] = "normalize"
    requires: ClassVar = ("ftfy",)
    writes: ClassVar = pa.schema(
        [
            column("text", pa.string(), "text", doc="the normalized text"),
            column("changed", pa.bool_(), "boolean", doc="whether the text differs from what was given"),
            column("chars_removed", pa.int64(), "characters", doc="characters given minus characters left"),
        ]
    )
    examples: ClassVar = (
        Example("plain text\n\n  - stays", {"text": "plain text\n\n  - stays", "changed": False, "chars_removed": 0}),
        Example("sÃ³ &amp; more\r\n", {"text": "só & more", "changed": True, "chars_removed": 7}),
        Example("<b>A &amp; B</b>", {"text": "<b>A &amp; B</b>"}),
        Example("e\u0301\x00 \n\n\n\u3000x\u00a0", {"text": "é\n\n x", "chars_removed": 5}),
        Example("ﬁne", {"text": "fine", "chars_removed": -1}),
        Example("“引用”，全角！", {"text": "“引用”，全角！", "changed": False}),
        Example("a\x07\r\nb", {"text": "a\x07\nb"}, {"ftfy": False, "control": False}),
    )

    ftfy: bool = True
    nfc: bool = True
    control: bool = True
    whitespace: bool = True

    def artifacts(self) -> dict[str, str]:
        """Versions of the tables that the switched-on repairs read."""
        versions = {}
        if self.ftfy:
            versions["ftfy"] = importlib.metadata.version("ftfy")
        if self.ftfy or self.nfc:
            versions["unicode"] = unicodedata.unidata_version
        return versions

    def open(self) -> Kernel:
        """Build the expressions that find what needs fixing."""
        steps = self.steps()

        def kernel(batch: pa.RecordBatch) -> Columns:
            given = batch[self.text]
            text = given
            for pattern, fix in steps:
                text = _where(pc.match_substring_regex(text, pattern), text, fix)
            if self.nfc:
                text = composed(text)
            return {
                "text": text,
                "changed": pc.not_equal(given, text),
                "chars_removed": pc.subtract(_chars(given), _chars(text)),
            }

        return kernel

    def steps(self) -> list[tuple[str, Callable[[Texts], Texts]]]:
        """Each switched-on repair but NFC, after an RE2 pattern that matches every text that it could change."""
        steps: list[tuple[str, Callable[[Texts], Texts]]] = []
        if self.ftfy:
            steps.append((_repairable(), _repaired))
        if self.control:
            steps.append((CONTROL, lambda texts: pc.replace_substring_regex(texts, CONTROL, "")))
        if self.whitespace:
            steps.append((f"{BREAK}|{SPACE}|{TRAILING}|{BLANK_LINES}|{EDGES}", _spaced))
        return steps


def _where(mask: pa.BooleanArray, texts: Texts, fix: Callable[[Texts], Texts]) -> Texts:
    """The texts, those under the mask fixed."""
    if not mask.true_count:
        return texts
    if mask.true_count == len(texts):
        return fix(texts)
    return pc.replace_with_mask(texts, mask, fix(texts.filter(mask)))


def _chars(texts: Texts) -> pa.Int64Array:
    return pc.utf8_length(texts).cast(pa.int64())


def _spaced(texts: Texts) -> Texts:
    for pattern, replacement in ((BREAK, "\n"), (SPACE, " "), (TRAILING, "\n"), (BLANK_LINES, "\n\n")):
        texts = pc.replace_substring_regex(texts, pattern, replacement)
    return pc.utf8_trim(texts, " \t\n")


def _repaired(texts: Texts) -> Texts:
    """Ftfy's repairs on each line that may need them; HTML entities only in lines before the first `<` of a text."""
    blocks: list[str] = []
    escaped: list[int] = []  # for each block, how many of its characters lie before the text's first line of HTML
    ends = [0]
    for text in texts.to_pylist():
        html = text.find("<")
        limit = len(text) if html < 0 else text.rfind("\n", 0, html) + 1
        for block in _blocks(text):
            blocks.append(block)
            escaped.append(limit)
            limit -= len(block)
        ends.append(len(blocks))
    for group in _groups([i for i, suspect in enumerate(_suspects(blocks)) if suspect], blocks):
        lines = [re.findall(r"[^\n]*\n|[^\n]+", blocks[i]) for i in group]
        suspects = iter(_suspects(list(itertools.chain.from_iterable(lines))))
        for i, some in zip(group, lines, strict=True):
            blocks[i] = _repair_block(some, suspects, escaped[i])
    return pa.array(["".join(blocks[a:b]) for a, b in itertools.pairwise(ends)], pa.string())


def _blocks(text: str) -> Iterator[str]:
    """The text in pieces of at most a million characters, cut after a newline where there is one."""
    start = 0
    while start < len(text):
        end = start + BLOCK_CHARS
        if end < len(text):
            end = text.rfind("\n", start, end) + 1 or end
        yield text[start:end]
        start = end


def _groups(chosen: list[int], blocks: list[str]) -> Iterator[list[int]]:
    """The chosen blocks in groups of at most two million characters, so that their lines fit in memory."""
    group: list[int] = []
    chars = 0
    for i in chosen:
        chars += len(blocks[i])
        if group and chars > 2 * BLOCK_CHARS:
            yield group
            group, chars = [], len(blocks[i])
        group.append(i)
    if group:
        yield group


def _repair_block(lines: list[str], suspects: Iterator[bool], escaped_before: int) -> str:
    """Repair the suspect lines; entities are unescaped in lines that begin before `escaped_before`."""
    start = 0
    for i, line in enumerate(lines):
        if next(suspects):
            lines[i] = _repair_line(line, unescape=start < escaped_before)
        start += len(line)
    return "".join(lines)


def _suspects(texts: list[str]) -> list[bool]:
    return list(pc.match_substring_regex(pa.array(texts, pa.string()), _repairable()).to_pylist())


def _repair_line(line: str, *, unescape: bool) -> str:
    import ftfy  # noqa: PLC0415 -- loads large tables, needed for suspect lines only
    from ftfy import fixes  # noqa: PLC0415 -- the same

    for _ in range(ROUNDS):
        before = line
        if unescape:
            line = fixes.unescape_html(line)
        line = ftfy.fix_encoding(line)
        line = fixes.remove_terminal_escapes(fixes.fix_latin_ligatures(fixes.fix_c1_controls(line)))
        if line == before:
            break
    return line


@functools.cache
def _repairable() -> str:
    """An RE2 pattern that matches whatever ftfy could repair, and little else."""
    from ftfy.badness import BADNESS_RE  # noqa: PLC0415 -- see above
    from ftfy.chardata import LIGATURES  # noqa: PLC0415 -- see above

    ligatures = "".join(chr(code) for code in LIGATURES)
    return f"(?s){ENTITY}|{ESCAPE}|[\\x{{80}}-\\x{{9f}}{ligatures}]|{loosened(BADNESS_RE.pattern)}"


def loosened(verbose: str) -> str:
    r"""Ftfy's mojibake pattern for RE2: comments and spaces taken out, `\s` and `\w` any character, `^` nothing.

    RE2 knows no verbose patterns and only ASCII's `\s` and `\w`. The looser pattern matches all that the
    original matches (a test holds it to that), a hundred times faster.
    """
    out: list[str] = []
    in_class = in_comment = False
    letters = iter(verbose)
    for c in letters:
        if in_comment:
            in_comment = c != "\n"
        elif c == "\\":
            escaped = c + next(letters)
            out.append("." if escaped in {r"\s", r"\w"} and not in_class else escaped)
        elif in_class or not (c.isspace() or c in "#^"):
            in_class = c != "]" if in_class else c == "["
            out.append(c)
        else:
            in_comment = c == "#"
    return "".join(out)
