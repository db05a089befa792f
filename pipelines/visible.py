"""Corpus text made safe to look at: what would be invisible or would rearrange the page is shown as a name.

Control characters, bidirectional overrides, zero-width and unassigned characters become `⟨U+202E⟩`.
Escaping for HTML or for the terminal is the renderer's work and comes after this.
"""

import re
import unicodedata

#: Format characters that ordinary text needs: emoji and Indic or Persian spelling.
_JOINERS = "\u200c\u200d"
_BREAKS = "\n\t"
_ASCII = re.compile(r"[\x20-\x7e\n\t]*")
#: More marks than this on one letter climb over the lines around it.
_MOST_MARKS = 4


def visible(text: str) -> str:
    """The text with every character that cannot be seen, or that moves others, named by its code point."""
    if _ASCII.fullmatch(text):
        return text
    return _tamed("".join(c if _plain(c) else f"⟨U+{ord(c):04X}⟩" for c in text))


def preview(text: str, characters: int) -> str:
    """The beginning of the text, at most `characters` long, visible; a cut is marked with `…`."""
    if len(text) <= characters:
        return visible(text)
    return visible(text[:characters].rstrip()) + "…"


def one_line(text: str, characters: int) -> str:
    """The beginning of the text on one line: runs of white space become one space."""
    return preview(" ".join(text[: 4 * characters].split()), characters)


def _plain(c: str) -> bool:
    if c in _JOINERS or c in _BREAKS:
        return True
    if c in "\u2028\u2029":
        return False
    return unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Cn"}


def _tamed(text: str) -> str:
    """The text with at most a few combining marks in a row; the rest are counted."""
    out: list[str] = []
    marks = 0
    for c in text:
        if unicodedata.category(c) in {"Mn", "Me"}:
            marks += 1
            if marks > _MOST_MARKS:
                continue
        else:
            if marks > _MOST_MARKS:
                out.append(f"⟨+{marks - _MOST_MARKS} marks⟩")
            marks = 0
        out.append(c)
    if marks > _MOST_MARKS:
        out.append(f"⟨+{marks - _MOST_MARKS} marks⟩")
    return "".join(out)
