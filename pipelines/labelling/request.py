"""What is asked of active learning: a mapping in a spec's section `label:`, or the options of `tamis label`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from learners.active import MEASURES, Settings
from stages.artifacts import NAME
from stages.catalog import did_you_mean, explain
from stages.errors import SpecError

#: An artifact's name has room for the suffix of its rounds.
SUFFIX = ".rounds"
LONGEST_NAME = 80 - len(SUFFIX)
ORACLES = ("file:PATH", "llm:PROFILE", "human")
HIGH_LOW = ("high", "low")


class LabelRequest(BaseModel):
    """`budget` documents in all are asked about: a share `held_out` at random first, to measure with, the others in rounds.

    `labels` are those that a person chooses from, and `high` is the one whose probability is `p_high`. With `control`, as many labels are asked for at random picks, to compare
    with; a labelled file is compared with over `control_seeds` seeds without being asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    learner: str
    oracle: str
    acquire: Literal[
        "entropy", "margin", "least_confidence", "vote_entropy", "mean_kl", "density", "k_center", "random"
    ] = "entropy"
    budget: int = Field(default=500, ge=2)
    rounds: int = Field(default=10, ge=1)
    seed: int = 0
    held_out: float = Field(default=0.2, ge=0, le=0.8)
    pool: Literal["kept", "all"] = "kept"
    labels: tuple[str, ...] = Field(default=HIGH_LOW, min_length=2, max_length=9)
    high: str | None = None
    candidates: int = Field(default=3, ge=1)
    committee: int = Field(default=5, ge=2, le=100)
    patience: int = Field(default=3, ge=0)
    control: bool = False
    control_seeds: int = Field(default=10, ge=0, le=100)
    model: str = "static"
    inverse_l2: float = Field(default=10.0, gt=0)

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        """Refuse rounds without a document."""
        if self.rounds > self.training:
            raise ValueError(
                f"{self.rounds} rounds share {self.training} documents; ask for fewer rounds or a larger budget"
            )
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels are given twice; give each once")
        return self

    @property
    def held(self) -> int:
        """Documents that are labelled to measure with."""
        return round(self.budget * self.held_out)

    @property
    def training(self) -> int:
        """Documents that are labelled to learn from."""
        return self.budget - self.held

    def settings(self) -> Settings:
        """How the rounds go."""
        return Settings(
            acquire=self.acquire,
            budget=self.training,
            rounds=self.rounds,
            candidates=self.candidates,
            committee=self.committee,
            patience=self.patience,
        )

    def identity(self) -> dict[str, Any]:
        """What the picks depend on beside the pool and the oracle's answers."""
        wanted = ("acquire", "budget", "rounds", "seed", "held_out", "candidates", "committee", "patience", "high")
        return {n: getattr(self, n) for n in (*wanted, "model", "inverse_l2")}


assert set(LabelRequest.model_fields["acquire"].annotation.__args__) == set(MEASURES)  # type: ignore[union-attr]  # it is a Literal


def request_of(fields: Mapping[str, Any], where: str) -> LabelRequest:
    """The request in a mapping.

    Raises:
        SpecError: an unknown field, or a value that is refused.
    """
    try:
        request = LabelRequest.model_validate(dict(fields))
    except ValidationError as error:
        raise SpecError(explain(error, LabelRequest, where), where=where) from error
    if not NAME.match(request.learner) or len(request.learner) > LONGEST_NAME:
        raise SpecError(
            f"{where} has the learner {request.learner!r}; write letters, digits, '.', '_' and '-' (at most {LONGEST_NAME})"
        )
    kind, _, rest = request.oracle.partition(":")
    if (kind in {"file", "llm"}) != bool(rest) or kind not in {"file", "llm", "human"}:
        raise SpecError(
            f"{where} has the oracle {request.oracle!r}{did_you_mean(request.oracle, list(ORACLES))}", where=where
        )
    return request


def sections(given: Any, base: Path) -> tuple[LabelRequest, ...]:
    """The requests of a spec's section `label:`, a mapping or a list of them; paths become absolute in place.

    Raises:
        SpecError: it is neither, or one is wrong, or two fit the same learner.
    """
    listed = given if isinstance(given, list) else [given] if given else []
    found: list[LabelRequest] = []
    for number, fields in enumerate(listed, 1):
        where = "`label`" if len(listed) == 1 else f"entry {number} of `label`"
        if not isinstance(fields, dict):
            raise SpecError(f"{where} is no mapping; write it as {{learner: NAME, oracle: file:PATH, budget: N}}")
        fields["oracle"] = _absolute(fields.get("oracle"), base)
        request = request_of({"pool": "all", **fields}, where)
        if request.pool != "all":
            raise SpecError(f"{where} has the pool 'kept', which is known only after the run; leave `pool` out")
        if request.learner in {r.learner for r in found}:
            raise SpecError(f"{where} fits the learner {request.learner!r}, as an earlier one does; name another")
        found.append(request)
    return tuple(found)


def _absolute(oracle: Any, base: Path) -> Any:
    """`file:PATH` and `llm:FILE` with a path that does not depend on where the command is run."""
    if not isinstance(oracle, str):
        return oracle
    kind, _, rest = oracle.partition(":")
    path = base / Path(rest).expanduser()
    if kind == "file" or (kind == "llm" and (path.suffix in {".yaml", ".yml", ".json"})):
        return f"{kind}:{path}"
    return oracle
