"""The section `learn:` of a spec: artifacts that are fitted before what reads them is planned, unless they were already."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pipelines.artifacts import checked_name, make_newest
from pipelines.input_paths import absolute
from pipelines.progress import Watch
from pipelines.store import Store
from stages.artifacts import Artifact, load
from stages.catalog import did_you_mean, explain
from stages.errors import SpecError
from stages.fingerprint import key

if TYPE_CHECKING:
    from pipelines.run import Options


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


#: Files, folders or globs; one may stand alone.
Paths: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_listed)]
#: What reads the files, where names do not tell.
Kind: TypeAlias = Literal["jsonl", "parquet", "text", "warc"] | None


class LearnRequest(BaseModel):
    """What to fit; the fields are the options of `tamis learn KIND`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: str

    def texts(self) -> dict[str, tuple[str, ...]]:
        """The paths that are learned from, by role; what they hold decides whether anything is to be fitted."""
        raise NotImplementedError

    def files(self) -> dict[str, str]:
        """Single files that are read beside the texts, by field: their content decides too, not where they are."""
        return {}

    def learn(self, store: Store, name: str, options: "Options", watch: Watch) -> Artifact:
        """Fit it, and keep it under the name."""
        raise NotImplementedError


class NgramRequest(LearnRequest):
    """An n-gram model for the stage `perplexity`."""

    kind: Literal["ngram"] = "ngram"
    text: Paths
    order: int = 5
    prune: tuple[int, ...] | None = None
    normalization: Literal["plain", "document", "ccnet"] = "plain"
    pieces: str | None = None
    held_out: Paths = ()
    held_out_share: float = 0.0
    seed: int = 0
    lang: str | None = None
    source: Kind = None

    def texts(self) -> dict[str, tuple[str, ...]]:
        """See `LearnRequest`."""
        return {"text": self.text, "held_out": self.held_out}

    def files(self) -> dict[str, str]:
        """See `LearnRequest`."""
        return {} if self.pieces is None else {"pieces": self.pieces}

    def learn(self, store: Store, name: str, options: "Options", watch: Watch) -> Artifact:
        """See `LearnRequest`."""
        from learners.ngram.settings import Settings  # noqa: PLC0415 - learners load what they use
        from pipelines.learning.ngram import Learning, learn_ngram  # noqa: PLC0415 - the same
        from stages.ngrams.reading import Reading  # noqa: PLC0415 - the same

        reading = Reading(self.normalization, Path(self.pieces) if self.pieces else None)
        settings = Settings.of(self.order, list(self.prune) if self.prune else None)
        learning = Learning(
            self.text, settings, reading, self.held_out, self.held_out_share, self.seed, self.lang, self.source
        )
        return learn_ngram(store, name, learning, options=options, watch=watch)


class QualityRequest(LearnRequest):
    """A classifier for the stage `quality`; `classifier` is the option `--kind` of `tamis learn quality`."""

    kind: Literal["quality"] = "quality"
    labels: Paths = ()
    positive: Paths = ()
    negative: Paths = ()
    classifier: Literal["fasttext", "embedding"] = "fasttext"
    high: str | None = None
    calibration: Literal["platt", "isotonic", "none"] = "platt"
    held_out: float = 0.2
    calibrate: float = 0.2
    seed: int = 0
    most: int = Field(default=100_000, ge=1)
    settings: dict[str, Any] = Field(default_factory=dict)

    def texts(self) -> dict[str, tuple[str, ...]]:
        """See `LearnRequest`."""
        return {"labels": self.labels, "positive": self.positive, "negative": self.negative}

    def learn(self, store: Store, name: str, options: "Options", watch: Watch) -> Artifact:
        """See `LearnRequest`."""
        from learners.quality import Settings  # noqa: PLC0415 - learners load what they use
        from learners.quality_study import Plan  # noqa: PLC0415 - the same
        from pipelines.learning.quality import Learning, learn_quality  # noqa: PLC0415 - the same

        settings = Settings(kind=self.classifier, **self.settings)
        plan = Plan(settings, self.high, self.calibration, self.calibrate, self.held_out)
        learning = Learning(self.labels, self.positive, self.negative, plan, self.seed, self.most)
        return learn_quality(store, name, learning, options=options, watch=watch)


class ImportanceRequest(LearnRequest):
    """DSIR weights for the stage `importance`."""

    kind: Literal["importance"] = "importance"
    target: Paths
    raw: Paths
    ngrams: int = Field(default=2, ge=1, le=8)
    buckets: int = Field(default=10_000, ge=2)
    hash: Literal["fast", "sha256"] = "fast"
    source: Kind = None

    def texts(self) -> dict[str, tuple[str, ...]]:
        """See `LearnRequest`."""
        return {"target": self.target, "raw": self.raw}

    def learn(self, store: Store, name: str, options: "Options", watch: Watch) -> Artifact:
        """See `LearnRequest`."""
        from pipelines.learning.importance import Learning, learn_importance  # noqa: PLC0415 - learners load what they use
        from stages.importance_weights import Features  # noqa: PLC0415 - the same

        learning = Learning(self.target, self.raw, Features(self.ngrams, self.buckets, self.hash), self.source)
        return learn_importance(store, name, learning, options=options, watch=watch)


class FrequenciesRequest(LearnRequest):
    """How often words occur, for the rarity that the stage `difficulty` measures."""

    kind: Literal["frequencies"] = "frequencies"
    text: Paths
    min_count: int = Field(default=2, ge=1)
    source: Kind = None

    def texts(self) -> dict[str, tuple[str, ...]]:
        """See `LearnRequest`."""
        return {"text": self.text}

    def learn(self, store: Store, name: str, options: "Options", watch: Watch) -> Artifact:
        """See `LearnRequest`."""
        from pipelines.learning.frequencies import learn_frequencies  # noqa: PLC0415 - learners load what they use

        return learn_frequencies(
            store, name, self.text, min_count=self.min_count, kind=self.source, options=options, watch=watch
        )


class TokenizerRequest(LearnRequest):
    """A tokenizer for the stage `tokens`: `vocab` entries learned from `text`, or a `file`."""

    kind: Literal["tokenizer"] = "tokenizer"
    text: Paths = ()
    vocab: int | None = None
    file: str | None = None
    end_of_text: str | None = None
    sample_bytes: int = Field(default=1_000_000_000, ge=1)
    seed: int = 0
    source: Kind = None

    def texts(self) -> dict[str, tuple[str, ...]]:
        """See `LearnRequest`."""
        return {"text": self.text}

    def files(self) -> dict[str, str]:
        """See `LearnRequest`."""
        return {} if self.file is None else {"file": self.file}

    def learn(self, store: Store, name: str, options: "Options", watch: Watch) -> Artifact:
        """See `LearnRequest`."""
        from pipelines.learning.tokenizer import Learning, learn_tokenizer  # noqa: PLC0415 - learners load what they use

        file = None if self.file is None else Path(self.file)
        learning = Learning(self.text, self.vocab, file, self.end_of_text, self.sample_bytes, self.seed, self.source)
        return learn_tokenizer(store, name, learning, options=options, watch=watch)


KINDS: Mapping[str, type[LearnRequest]] = {
    "ngram": NgramRequest,
    "quality": QualityRequest,
    "importance": ImportanceRequest,
    "frequencies": FrequenciesRequest,
    "tokenizer": TokenizerRequest,
}
#: Fields that hold paths.
_PATHS = ("text", "held_out", "labels", "positive", "negative", "target", "raw", "pieces", "file")


def learn_requests(given: Any, base: Path) -> dict[str, LearnRequest]:
    """The requests of a spec's section `learn:`, by the artifact's name; relative paths become absolute in place.

    Raises:
        SpecError: it is no mapping, or one of them is wrong.
    """
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise SpecError(
            "`learn` is a mapping of artifact names to learners, such as {en-5gram: {kind: ngram, text: ...}}"
        )
    return {checked_name(str(name)): _request(name, fields, base) for name, fields in given.items()}


def _request(name: str, fields: Any, base: Path) -> LearnRequest:
    where = f"learner {name!r}"
    if not isinstance(fields, dict):
        raise SpecError(f"{where} is not a mapping; write it as {{kind: ngram, text: ...}}")
    for field in _PATHS:
        value = fields.get(field)
        if isinstance(value, str):
            fields[field] = absolute(value, base, where)
        elif isinstance(value, list):
            fields[field] = [absolute(v, base, where) if isinstance(v, str) else v for v in value]
    kind = str(fields.get("kind"))
    if kind not in KINDS:
        raise SpecError(f"{where} has the unknown kind {kind!r}{did_you_mean(kind, list(KINDS))}", where=where)
    try:
        return KINDS[kind].model_validate(fields)
    except ValidationError as error:
        raise SpecError(explain(error, KINDS[kind], where), where=where) from error


def run_learners(requests: Mapping[str, LearnRequest], store: Store, options: "Options", watch: Watch) -> None:
    """Fit every artifact that was not fitted before from the same texts in the same way.

    Raises:
        SpecError: a request cannot be met.
        DataError: a path matches nothing, or there is nothing to learn from.
    """
    from pipelines.gather import gather  # noqa: PLC0415 - it ingests as a run does
    from pipelines.learning.session import engine_of  # noqa: PLC0415 - the same

    for name, request in requests.items():
        with engine_of(options, watch) as engine:
            kind = getattr(request, "source", None)
            found = {r: gather(store, p, engine, watch, kind=kind) for r, p in request.texts().items() if p}
        fields = request.model_dump(mode="json", exclude={*request.texts(), "pieces", "file"})
        content = {role: texts.json()["content"] for role, texts in found.items()}
        asked = key({"request": fields, "content": content, "tamis": version("tamis"), **_contents(request)})
        path = f"artifacts/{name}/requests/{asked}.json"
        known = store.find_json(path)
        if known is not None:
            make_newest(store, name, known["key"])
            watch.say(f"learn {name}: {load(store, name, known['key']).id} is there")
            continue
        fitted = request.learn(store, name, options, watch)
        store.create_json(path, {"key": fitted.key})
        watch.say(f"learn {name}: {fitted.id}")


def _contents(request: LearnRequest) -> dict[str, str | None]:
    """The hashes of the files that a request names."""
    from stages.fingerprint import file_digest  # noqa: PLC0415 - for the few that name files

    found: dict[str, str | None] = {"pieces": None}
    for field, path in request.files().items():
        try:
            found[field] = file_digest(Path(path))
        except OSError as error:
            raise SpecError(
                f"the file {path!r} of a learner cannot be read ({error}); name another", path=path
            ) from error
    return found
