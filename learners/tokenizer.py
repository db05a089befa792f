"""Tokenizers: byte-level BPE fitted on texts, or one that exists already, looked over before it is kept.

Byte-level BPE (Sennrich, Haddow, Birch 2016, arXiv:1508.07909; bytes and words as in GPT-2, Radford et al. 2019): every
text has tokens and is decoded to itself. The merges depend on how often words occur, so the order of the texts, their
division and the number of threads change nothing.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from stages.errors import DataError, SpecError, StorageError
from stages.tokenization import END_OF_TEXT, alphabet, parsed, size_of, special_tokens

#: The fewest entries that a byte-level vocabulary has: 256 bytes and the end of a text.
LEAST = 257
#: A model's embedding has a row for each entry.
MOST = 1 << 24
#: Longer words (base64, tables of numbers) are learned from in pieces of so many bytes: a merge looks through every word
#: that it occurs in. Characters of 1 to 4 bytes fit in it evenly.
LONGEST_WORD = 96
#: Words of letters that are in hardly any vocabulary.
UNHEARD_OF = "\u16a0\ua66e \u16c7\U00010380"
#: What the end of a text is called by tokenizers that people use, most usual first.
KNOWN_ENDS = (
    END_OF_TEXT,
    "<|end_of_text|>",
    "<|endofdocument|>",
    "</s>",
    "<eos>",
    "<|eos|>",
    "<eod>",
    "[EOS]",
    "[SEP]",
)


@dataclass(frozen=True, slots=True)
class Made:
    """A tokenizer: the content of its `tokenizer.json`, the id of its end of text, and how many ids there are."""

    content: str
    end_of_text: int
    vocabulary: int

    def identity(self) -> dict[str, Any]:
        """What an artifact's readers need to know beside its file."""
        return {"end_of_text": self.end_of_text, "vocabulary": self.vocabulary}


def checked_size(vocabulary: int) -> int:
    """A size that a learned vocabulary can have.

    Raises:
        SpecError: it is none.
    """
    if not LEAST <= vocabulary <= MOST:
        raise SpecError(
            f"a vocabulary of {vocabulary:,} entries cannot be learned; ask for {LEAST} (256 bytes and the end of a text) "
            f"to {MOST:,}"
        )
    return vocabulary


def fitted(texts: Iterable[pa.StringArray], vocabulary: int) -> Made:
    """Learn up to `vocabulary` entries, the end of a text (id 0) and the 256 bytes (1 to 256) among them.

    Memory: the distinct words of the texts.

    Raises:
        DataError: there is no text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # type: ignore[import-untyped]  # noqa: PLC0415 - for learning only; it has no stubs

    seen = _Seen()
    made = Tokenizer(models.BPE())
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.FixedLength(LONGEST_WORD)])
    trainer = trainers.BpeTrainer(
        vocab_size=checked_size(vocabulary),
        special_tokens=[END_OF_TEXT],
        initial_alphabet=list(alphabet())[1:],
        show_progress=False,
    )
    made.train_from_iterator(seen.watching(texts), trainer)
    if not seen.bytes:
        raise DataError("there is nothing but empty texts to learn a tokenizer from; name files with text")
    made.pre_tokenizer = words
    made.decoder = decoders.ByteLevel()
    return Made(str(made.to_str()), int(made.token_to_id(END_OF_TEXT)), size_of(made))


class _Seen:
    """How much text went past."""

    def __init__(self) -> None:
        self.bytes = 0

    def watching(self, texts: Iterable[pa.StringArray]) -> Iterator[list[str]]:
        """Every batch as the library wants it."""
        for batch in texts:
            some = batch.to_pylist()
            self.bytes += sum(map(len, some))
            yield some


def adopted(content: str, name: str, end_of_text: str | None = None) -> Made:
    """A tokenizer that exists, from its `tokenizer.json`; `end_of_text` is the token between documents, or its id.

    Without it, the first of `KNOWN_ENDS` that the tokenizer has is taken. That token becomes a special one if it was not,
    and padding, truncation and dropout are taken out.

    Raises:
        SpecError: it is no tokenizer, it has no such token, a text can give a special token, or a text can give none at all.
    """
    try:
        found = parsed(content, name)
    except StorageError as error:
        raise SpecError(f"{name!r} is no tokenizer.json ({error.__cause__}); name one", file=name) from error
    token = _end_of_text(found, name, end_of_text)
    content = _with_special(str(found.to_str()), token)
    _check_specials(content, name)
    return Made(content, int(found.token_to_id(token)), size_of(found))


def _end_of_text(found: Any, name: str, wanted: str | None) -> str:
    if wanted is None:
        known = [token for token in KNOWN_ENDS if found.token_to_id(token) is not None]
        if not known:
            raise SpecError(
                f"the tokenizer {name!r} has none of the usual tokens for the end of a text ({', '.join(KNOWN_ENDS)}); name "
                "its own with --end-of-text TOKEN",
                file=name,
            )
        return known[0]
    if found.token_to_id(wanted) is not None:
        return wanted
    if wanted.isdecimal() and (token := found.id_to_token(int(wanted))) is not None:
        return str(token)
    raise SpecError(f"the tokenizer {name!r} has no token {wanted!r} to end texts with; name another", file=name)


def _with_special(content: str, token: str) -> str:
    """The `tokenizer.json` with that token among the special ones."""
    if token in special_tokens(content):
        return content
    changed = parsed(content, token)
    changed.add_special_tokens([token])
    fields = json.loads(changed.to_str())
    for added in fields["added_tokens"]:
        added["special"] |= added["content"] == token
    return json.dumps(fields, ensure_ascii=False)


def _check_specials(content: str, name: str) -> None:
    """Make sure that no text gives a special token, which would end a document or begin another, and that each gives some."""
    found = parsed(content, name)
    _ids(found, UNHEARD_OF, name)
    for token, number in special_tokens(content).items():
        for text in (token, f" {token}", f"a{token}b"):
            if number in _ids(found, text, name):
                raise SpecError(
                    f"with the tokenizer {name!r} a text that holds {token!r} gives the special token of that name, so a "
                    "text could end another; use a byte-level one",
                    file=name,
                )


def _ids(tokenizer: Any, text: str, name: str) -> list[int]:
    try:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    except Exception as error:
        if type(error) is Exception:  # the library raises nothing narrower
            raise SpecError(
                f"the tokenizer {name!r} has no tokens for a text such as {text!r} ({error}); use a byte-level one, or one "
                "with a token for the unknown",
                file=name,
            ) from error
        raise
    return ids
