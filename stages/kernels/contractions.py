"""Words that spaCy's English tokenizer knows by heart: contractions, abbreviations and emoticons, with their parts.

The surface forms are those of spaCy 3.8 (MIT), generated from the same word families; a form maps to the parts
that it is cut into. Forms with a straight apostrophe also exist with a typographic one.
"""

import functools

_SUBJECTS = ("who", "what", "when", "where", "why", "how", "there", "that", "this")
_PLURALS = ("these", "those")
_NOT_VE = [
    "ca",
    "could",
    "do",
    "does",
    "did",
    "had",
    "may",
    "might",
    "must",
    "need",
    "ought",
    "sha",
    "should",
    "wo",
    "would",
]
_NOT = ["ai", "are", "is", "was", "were", "have", "has", "dare"]
_WHOLE = [
    "em",
    "ll",
    "nuff",
    "'em",
    "'ll",
    "'nuff",
    "'S",
    "'s",
    "‘S",
    "‘s",
    "and/or",
    "w/o",
    "'re",
    "'Cause",
    "'cause",
    "'cos",
    "'Cos",
    "'coz",
    "'Coz",
    "'cuz",
    "'Cuz",
    "'bout",
    "ma'am",
    "Ma'am",
    "o'clock",
    "O'clock",
    "'d",
    "a.m.",
    "p.m.",
    "Ph.D.",
    "v.s.",
    "vs.",
    "e.g.",
    "E.g.",
    "E.G.",
    "i.e.",
    "I.e.",
    "I.E.",
    "D.C.",
    "N.C.",
    "N.D.",
    "N.H.",
    "N.J.",
    "N.M.",
    "N.Y.",
    "S.C.",
    "co.",
    "Mt.",
    "Ak.",
    "Ala.",
    "Apr.",
    "Ariz.",
    "Ark.",
    "Aug.",
    "Calif.",
    "Colo.",
    "Conn.",
    "Dec.",
    "Del.",
    "Feb.",
    "Fla.",
    "Ga.",
    "Ia.",
    "Id.",
    "Ill.",
    "Ind.",
    "Jan.",
    "Jul.",
    "Jun.",
    "Kan.",
    "Kans.",
    "Ky.",
    "La.",
    "Mar.",
    "Mass.",
    "Mich.",
    "Minn.",
    "Miss.",
    "Neb.",
    "Nebr.",
    "Nev.",
    "Nov.",
    "Oct.",
    "Okla.",
    "Ore.",
    "Pa.",
    "Sep.",
    "Sept.",
    "Tenn.",
    "Va.",
    "Wash.",
    "Wis.",
    "Adm.",
    "Bros.",
    "Co.",
    "Corp.",
    "Dr.",
    "Gen.",
    "Gov.",
    "Inc.",
    "Jr.",
    "Ltd.",
    "Md.",
    "Messrs.",
    "Mo.",
    "Mont.",
    "Mr.",
    "Mrs.",
    "Ms.",
    "Prof.",
    "Rep.",
    "Rev.",
    "Sen.",
    "St.",
    "\\t",
    "\\n",
    "—",
    "'",
    "''",
    '\\")',
    "<space>",
    "C++",
    "ä.",
    "ö.",
    "ü.",
]
_EMOTICONS = [
    ":)",
    ":-)",
    ":))",
    ":-))",
    ":)))",
    ":-)))",
    "(:",
    "(-:",
    "=)",
    "(=",
    ":]",
    ":-]",
    "[:",
    "[-:",
    "[=",
    "=]",
    ":o)",
    "(o:",
    ":}",
    ":-}",
    "8)",
    "8-)",
    "(-8",
    ";)",
    ";-)",
    "(;",
    "(-;",
    ":(",
    ":-(",
    ":((",
    ":-((",
    ":(((",
    ":-(((",
    "):",
    ")-:",
    "=(",
    ">:(",
    ":')",
    ":'-)",
    ":'(",
    ":'-(",
    ":/",
    ":-/",
    "=/",
    "=|",
    ":|",
    ":-|",
    "]=",
    "=[",
    ":1",
    ":P",
    ":-P",
    ":p",
    ":-p",
    ":O",
    ":-O",
    ":o",
    ":-o",
    ":0",
    ":-0",
    ":()",
    ">:o",
    ":*",
    ":-*",
    ":3",
    ":-3",
    "=3",
    ":>",
    ":->",
    ":X",
    ":-X",
    ":x",
    ":-x",
    ":D",
    ":-D",
    ";D",
    ";-D",
    "=D",
    "xD",
    "XD",
    "xDD",
    "XDD",
    "8D",
    "8-D",
    "^_^",
    "^__^",
    "^___^",
    ">.<",
    ">.>",
    "<.<",
    "._.",
    ";_;",
    "-_-",
    "-__-",
    "v.v",
    "V.V",
    "v_v",
    "V_V",
    "o_o",
    "o_O",
    "O_o",
    "O_O",
    "0_o",
    "o_0",
    "0_0",
    "o.O",
    "O.o",
    "O.O",
    "o.o",
    "0.0",
    "o.0",
    "0.o",
    "@_@",
    "<3",
    "<33",
    "<333",
    "</3",
    "(^_^)",
    "(-_-)",
    "(._.)",
    "(>_<)",
    "(*_*)",
    "(¬_¬)",
    "ಠ_ಠ",
    "ಠ︵ಠ",
    "(ಠ_ಠ)",
    "¯\\(ツ)/¯",
    "(╯°□°）╯︵┻━┻",
    "><(((*>",
]
#: Ordinary words, so spaCy leaves them alone.
_ORDINARY = ["ill", "its", "hell", "shell", "shed", "were", "well", "whore"]


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
    for word in (*_WHOLE, *_EMOTICONS, *(f"{letter}." for letter in "abcdefghijklmnopqrstuvwxyz")):
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
