"""What is asked of an ablation: an entry of a spec's section `ablate:`, or the options of `tamis ablate`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipelines.input_paths import absolute
from stages.artifacts import PREFIX
from stages.catalog import did_you_mean, explain
from stages.errors import SpecError

#: Names that stand for several arms.
GROUPS = ("leave-one-out", "shapley")
#: Arms that every run has.
BUILT_IN = ("unfiltered", "curated", "random", "unordered", "again", *GROUPS)
ARM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,79}\Z")
LARGEST = 10**18
_SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9, "t": 10**12}
_NUMBER = re.compile(r"(?P<digits>\d+(?:\.\d+)?(?:e\d+)?)(?P<suffix>[kmbgt]?)\Z", re.IGNORECASE)


def number(value: Any) -> Any:
    """`1.8M`, `4e6` or `2_000` as a whole number; anything else as it is, for pydantic to judge."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, str):
        return value
    found = _NUMBER.match(value.strip().replace("_", ""))
    if found is None:
        raise ValueError(f"{value!r} is no number; write one such as 1800000, 1.8M or 4e6")
    whole = float(found["digits"]) * _SUFFIXES[found["suffix"].lower()]
    if whole > LARGEST:
        raise ValueError(f"{value!r} is more than anybody trains; write a number up to {LARGEST:.0e}")
    return round(whole)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, (str, int, float)) else value


def _numbers(value: Any) -> Any:
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    return [number(part) for part in value] if isinstance(value, (list, tuple)) else [number(value)]


Number: TypeAlias = Annotated[int, BeforeValidator(number), Field(ge=1)]
Paths: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class ArmRequest(BaseModel):
    """An arm of its own: the run's spec with changes (`set`), another spec (`spec`), or another run (`run`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    what: str = ""
    set: dict[str, Any] = Field(default_factory=dict)
    spec: str | None = None
    run: str | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if not ARM_NAME.match(self.name) or self.name in BUILT_IN:
            raise ValueError(
                f"the arm {self.name!r} cannot be called so; write letters, digits, '.', '_', '@', '+' and '-', and no "
                f"name of tamis's own ({', '.join(BUILT_IN)})"
            )
        if sum((bool(self.set), self.spec is not None, self.run is not None)) != 1:
            raise ValueError(f"the arm {self.name!r} needs one of `set`, `spec` and `run`, and not several")
        return self


def _arms(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class AblateRequest(BaseModel):
    """Arms, trained on `budgets` tokens each with `seeds` seeds, and compared on a panel of held-out documents.

    budgets: trained tokens; every one is a fully decayed run. panel: files of held-out documents, of which `panel_bytes`
    of each domain are drawn. bracket: factors of the dial's learning rate that are tried on the baseline with the first
    seed and the first budget. equal: what is equal between arms: trained tokens; the raw pool (an arm trains on what its
    policy leaves of the same raw documents); or total compute (the CPU time of curation is charged in tokens). exhausted:
    what happens when an arm has fewer tokens than its budget. precision: auto is what this machine computes fastest in. ladder: train smaller models, too, for `tamis scaling fit`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = "ablation"
    arms: Annotated[tuple[str | ArmRequest, ...], BeforeValidator(_arms)] = ("unfiltered", "curated", "random")
    baseline: str = "unfiltered"
    panel: Paths = Field(min_length=1)
    panel_bytes: Number = 150_000
    probes: Paths = ()
    tokenizer: str | None = None
    parameters: Number = 1_800_000
    context: Number = 256
    budgets: Annotated[tuple[int, ...], BeforeValidator(_numbers)] = (1_000_000, 2_000_000, 4_000_000)
    seeds: int = Field(default=3, ge=1, le=1000)
    seed: int = Field(default=1, ge=0)
    schedule: Literal["wsd", "cosine", "constant"] = "wsd"
    decay: float = Field(default=0.1, gt=0, lt=1)
    learning_rate: float | None = Field(default=None, gt=0)
    bracket: tuple[float, ...] = (0.5, 1.0, 2.0)
    batch_sequences: int | None = Field(default=None, ge=1)
    optimizer: Literal["adamw", "muon"] = "adamw"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    equal: Literal["tokens", "pool", "compute"] = "tokens"
    exhausted: Literal["repeat", "refuse"] = "repeat"
    looks: bool = False
    ladder: bool = False
    resamples: int = Field(default=2000, ge=100, le=100_000)

    @field_validator("name")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if not ARM_NAME.match(name):
            raise ValueError(
                f"an ablation cannot be called {name!r}; write letters, digits, '.', '_', '@', '+' and '-'"
            )
        return name

    @field_validator("tokenizer")
    @classmethod
    def _is_artifact(cls, tokenizer: str | None) -> str | None:
        if tokenizer is not None and not tokenizer.startswith(PREFIX):
            raise ValueError(
                f"the tokenizer is {tokenizer!r}; write artifact:NAME (fit one with: tamis learn tokenizer)"
            )
        return tokenizer

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        names = [arm if isinstance(arm, str) else arm.name for arm in self.arms]
        for arm in self.arms:
            if isinstance(arm, str) and arm not in BUILT_IN:
                raise ValueError(f"there is no arm {arm!r}{did_you_mean(arm, list(BUILT_IN))}")
        if len(set(names)) < len(names):
            raise ValueError(f"an arm is named twice among {', '.join(names)}; name each once")
        if list(self.budgets) != sorted(set(self.budgets)) or not self.budgets or self.budgets[0] < 1:
            raise ValueError(f"the budgets {list(self.budgets)} do not rise; write each once, the smallest first")
        if not self.bracket or any(factor <= 0 for factor in self.bracket):
            why = "has a factor that is not above 0" if self.bracket else "is empty"
            raise ValueError(f"the bracket {why}; write factors such as [0.5, 1, 2]")
        if self.baseline not in names:
            raise ValueError(f"the baseline {self.baseline!r} is none of the arms {', '.join(names)}; name one of them")
        if self.baseline in (*GROUPS, "again"):
            why = "is another arm once more" if self.baseline == "again" else "stands for several arms"
            raise ValueError(
                f"the baseline cannot be {self.baseline!r}, which {why}; name a single arm such as 'curated'"
            )
        return self

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds that every arm is trained with."""
        return tuple(range(self.seed, self.seed + self.seeds))

    def identity(self) -> dict[str, Any]:
        """What the numbers depend on, apart from the run, the panel's text and the tokenizer."""
        return self.model_dump(mode="json", exclude={"name", "panel", "probes", "tokenizer"})


def request_of(fields: Mapping[str, Any], where: str) -> AblateRequest:
    """The request in a mapping.

    Raises:
        SpecError: an unknown field, or a value that is refused.
    """
    try:
        return AblateRequest.model_validate(dict(fields))
    except ValidationError as error:
        causes = [e["ctx"]["error"] for e in error.errors() if isinstance(e.get("ctx", {}).get("error"), ValueError)]
        sentence = f"{where}: {causes[0]}" if causes else explain(error, AblateRequest, where)
        raise SpecError(sentence, where=where) from error


def sections(given: Any, base: Path) -> tuple[AblateRequest, ...]:
    """The requests of a spec's section `ablate:`, a mapping or a list of them; paths become absolute.

    An entry with several schedules is as many requests.

    Raises:
        SpecError: it is neither, one is wrong, or two have the same name.
    """
    listed = given if isinstance(given, list) else [given] if given else []
    found: list[AblateRequest] = []
    for position, fields in enumerate(listed, 1):
        where = "`ablate`" if len(listed) == 1 else f"entry {position} of `ablate`"
        if not isinstance(fields, dict):
            raise SpecError(f"{where} is no mapping; write it as {{panel: PATH, budgets: [1M, 2M, 4M], seeds: 3}}")
        for own in _by_schedule(_located(fields, base, where)):
            request = request_of(own, where)
            if request.name in {r.name for r in found}:
                raise SpecError(
                    f"{where} is called {request.name!r}, as an earlier one is; give it a `name` of its own"
                )
            found.append(request)
    return tuple(found)


def _by_schedule(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields once for each of several schedules, whose names are part of the ablation's name."""
    schedules = fields.get("schedule")
    if not isinstance(schedules, list) or not schedules:
        return [fields]
    name = fields.get("name", AblateRequest.model_fields["name"].default)
    return [{**fields, "schedule": schedule, "name": f"{name}-{schedule}"} for schedule in schedules]


def _located(fields: Mapping[str, Any], base: Path, where: str) -> dict[str, Any]:
    """The fields with paths that do not depend on where the command is run."""
    own = dict(fields)
    for name in ("panel", "probes"):
        if name in own and isinstance(listed := _listed(own[name]), (list, tuple)):
            own[name] = [absolute(str(path), base, f"{where} {name}") for path in listed]
    arms = own.get("arms")
    if isinstance(arms, list):
        own["arms"] = [
            {**arm, "spec": absolute(str(arm["spec"]), base, where)}
            if isinstance(arm, dict) and arm.get("spec")
            else arm
            for arm in arms
        ]
    return own
