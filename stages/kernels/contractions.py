"""Words that spaCy's English tokenizer knows by heart: contractions, abbreviations and emoticons, with their parts.

The surface forms are those of spaCy 3.8 (MIT), generated from the same word families; a form maps to the parts
that it is cut into. Abbreviations and
emoticons are in `known_words.txt`. Forms with a straight apostrophe also exist with a typographic one.
"""

import functools
from pathlib import Path

_SUBJECTS = ("who", "what", "when", "where", "why", "how", "there", "that", "this")
_PLURALS = ("these", "those")
_NOT_VE = (
    "ca", "could", "do", "does", "did", "had", "may", "might", "must", "need", "ought", "sha", "should", "wo", "would",
)  # fmt: skip
_NOT = ("ai", "are", "is", "was", "were", "have", "has", "dare")
#: Ordinary words, so spaCy leaves them alone.
_ORDINARY = ("ill", "its", "hell", "shell", "shed", "were", "well", "whore")


def _lines(name: str) -> list[str]:
    return Path(__file__).with_name(name).read_text("utf-8").split()


@functools.cache
def units() -> list[str]:
    """Units of measure and currencies, peeled from a word's end after a digit: `units.txt`."""
    return _lines("units.txt")


@functools.cache
def special_words() -> dict[str, tuple[str, ...]]:
    """Every known form and the parts that it is cut into, one part where it is kept whole."""
    found: dict[str, tuple[str, ...]] = {}
    for parts in (*_pronouns(), *_questions(), *_negations()):
        for case in (parts, (parts[0].title(), *parts[1:])):
            found["".join(case)] = case
            bare = tuple(part.replace("'", "") for part in case)
            found["".join(bare)] = bare
    for hour in range(1, 13):
        for half in ("a.m.", "am", "p.m.", "pm"):
            found[f"{hour}{half}"] = (str(hour), half)
    for parts in _irregular():
        found["".join(parts)] = parts
    for word in (*_lines("known_words.txt"), *(f"{letter}." for letter in "abcdefghijklmnopqrstuvwxyz")):
        found[word] = (word,)
    for unit in "cfkCFK":
        found[f"°{unit}."] = ("°", unit, ".")
    for word in _ORDINARY:
        found.pop(word, None)
        found.pop(word.title(), None)
    curled = {w.replace("'", "’"): tuple(p.replace("'", "’") for p in parts) for w, parts in found.items()}
    return {**curled, **found}


def _pronouns() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [("i", "'m"), ("i", "'m", "a")]
    for word in ("i", "you", "he", "she", "it", "we", "they"):
        found += [(word, "'ll"), (word, "'ll", "'ve"), (word, "'d"), (word, "'d", "'ve")]
    found += [(word, "'ve") for word in ("i", "you", "we", "they")]
    found += [(word, "'re") for word in ("you", "we", "they")]
    return found + [(word, "'s") for word in ("he", "she", "it")]


def _questions() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for word in (*_SUBJECTS, *_PLURALS):
        found += [(word, "'ll"), (word, "'ll", "'ve"), (word, "'d"), (word, "'d", "'ve")]
        found += [(word, "'s")] if word not in _PLURALS else []
        found += [(word, "'re"), (word, "'ve")] if word not in ("that", "this") else []
    return found


def _negations() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [(word, "n't") for word in (*_NOT_VE, *_NOT)]
    found += [(word, "n't", "'ve") for word in _NOT_VE]
    return found + [(word, "'ve") for word in ("could", "might", "must", "should", "would")]


def _irregular() -> list[tuple[str, ...]]:
    found = [("y'", "all"), ("y", "all"), ("how", "'d", "'y"), ("How", "'d", "'y"), ("c'm", "on"), ("C'm", "on")]
    for parts in (("not", "'ve"), ("not", "ve"), ("can", "not"), ("gon", "na"), ("got", "ta"), ("let", "'s")):
        found += [parts, (parts[0].title(), *parts[1:])]
    for word in ("doin", "goin", "nothin", "nuthin", "ol", "somethin", "lovin", "havin"):
        found += [(word,), (word.title(),), (f"{word}'",), (f"{word.title()}'",)]
    return found
