"""Learning from Python: the calls of `tamis learn` and `tamis label`, as `pipelines.api` gives them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.labelling.request import LabelRequest, request_of
from pipelines.opening import open_store, view
from pipelines.progress import NullWatch, Watch
from pipelines.run import Options
from pipelines.store import Store

if TYPE_CHECKING:
    from pipelines.labelling.human_oracle import Person
    from pipelines.learning.importance import Learning as ImportanceLearning
    from pipelines.learning.ngram import Learning as NgramLearning
    from pipelines.learning.quality import Learning as QualityLearning
    from pipelines.learning.tokenizer import Learning as TokenizerLearning
    from stages.artifacts import Artifact


def learn_quality(
    name: str,
    learning: "QualityLearning",
    *,
    store: str | Path | Store | None = None,
    options: Options | None = None,
    watch: Watch | None = None,
) -> "Artifact":
    """Fit a classifier of documents (see `pipelines.learning.quality.Learning`) and keep it under a name.

    Raises:
        SpecError: the name cannot be an artifact's, or the high label is none of the labels.
        DataError: a path matches nothing, records have no label, or a class has too few documents.
    """
    from pipelines.learning import quality  # noqa: PLC0415 - learners load what they use

    return quality.learn_quality(open_store(store, create=True), name, learning, options=options, watch=watch)


def learn_importance(
    name: str,
    learning: "ImportanceLearning",
    *,
    store: str | Path | Store | None = None,
    options: Options | None = None,
    watch: Watch | None = None,
) -> "Artifact":
    """Fit DSIR importance weights on target and raw text (see `pipelines.learning.importance.Learning`).

    Raises:
        SpecError: the name cannot be an artifact's.
        DataError: a path matches nothing, a side has no words, or the two have no n-gram in common.
    """
    from pipelines.learning import importance  # noqa: PLC0415 - learners load what they use

    return importance.learn_importance(open_store(store, create=True), name, learning, options=options, watch=watch)


def learn_frequencies(
    name: str,
    text: Sequence[str],
    *,
    min_count: int = 2,
    kind: str | None = None,
    store: str | Path | Store | None = None,
    options: Options | None = None,
    watch: Watch | None = None,
) -> "Artifact":
    """Count the words of texts, for the rarity that `difficulty` measures, and keep the table under a name.

    Raises:
        SpecError: the name cannot be an artifact's.
        DataError: a path matches nothing, or there are no words.
    """
    from pipelines.learning import frequencies  # noqa: PLC0415 - learners load what they use

    own = open_store(store, create=True)
    return frequencies.learn_frequencies(own, name, text, min_count=min_count, kind=kind, options=options, watch=watch)


def learn_ngram(
    name: str,
    learning: "NgramLearning",
    *,
    store: str | Path | Store | None = None,
    options: Options | None = None,
    watch: Watch | None = None,
) -> "Artifact":
    """Fit an n-gram model on texts (see `pipelines.learning.ngram.Learning`) and keep it under a name.

    Raises:
        SpecError: the name cannot be an artifact's, or sentencepiece is missing.
        DataError: a path matches nothing, or there are no words.
    """
    from pipelines.learning import ngram  # noqa: PLC0415 - learners load what they use

    return ngram.learn_ngram(open_store(store, create=True), name, learning, options=options, watch=watch)


def learn_tokenizer(
    name: str,
    learning: "TokenizerLearning",
    *,
    store: str | Path | Store | None = None,
    options: Options | None = None,
    watch: Watch | None = None,
) -> "Artifact":
    """Learn a tokenizer, or take over a file's (see `pipelines.learning.tokenizer.Learning`), and keep it under a name.

    Raises:
        SpecError: the name cannot be an artifact's, or the file is no tokenizer that can be used.
        DataError: a path matches nothing, or there is no text.
    """
    from pipelines.learning import tokenizer  # noqa: PLC0415 - learners load what they use

    return tokenizer.learn_tokenizer(open_store(store, create=True), name, learning, options=options, watch=watch)


def label_request(fields: Mapping[str, Any]) -> LabelRequest:
    """What is asked of active learning: `learner`, `oracle`, `acquire`, `budget`, `rounds`, `seed` and more.

    Raises:
        SpecError: an unknown field, or a value that is refused.
    """
    return request_of(fields, "the labelling")


def label(
    run: str,
    request: LabelRequest | Mapping[str, Any],
    *,
    store: str | Path | Store | None = None,
    options: Options | None = None,
    person: "Callable[[], Person] | None" = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Label documents of a run in rounds of active learning; gives the artifact, the labels, the curve and why it ended.

    Raises:
        SpecError: the request cannot be met.
        DataError: the labels cannot be told apart, or none is a label.
        StorageError: the oracle does not answer.
    """
    from pipelines.labelling.label import label_run  # noqa: PLC0415 - learners load what they use

    wanted = label_request(request) if isinstance(request, Mapping) else request
    return label_run(view(run, store=store), wanted, options or Options(), watch or NullWatch(), person)
