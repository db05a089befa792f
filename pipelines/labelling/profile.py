"""How a language model is asked for labels: a profile, in a file of YAML or JSON or by the name of a bundled one."""

import re
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipelines.labelling.endpoints import must_be_allowed, of_environment
from pipelines.secret_values import REFERENCE, resolve
from pipelines.yaml_text import read_yaml
from stages.catalog import did_you_mean, explain
from stages.errors import SpecError

BUNDLED = Path(__file__).parents[1] / "specs" / "oracles"
TEXT, LABELS = "{text}", "{labels}"
_SUFFIXES = (".yaml", ".yml", ".json")


class Profile(BaseModel):
    """An OpenAI-compatible endpoint and the question that it is asked.

    `prompt` holds {text}, and {labels} where they are wanted. `pattern` is a regular expression whose one group finds the
    label in an answer; without it the whole answer must be a label. Prices are per token, in the currency of `max_spend`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    base_url: str = Field(pattern=r"^https?://[^\s]+$")
    model: str = Field(min_length=1)
    prompt: str
    labels: tuple[str, ...] = Field(min_length=2)
    system: str | None = None
    pattern: str | None = None
    temperature: float = Field(default=0.0, ge=0)
    max_tokens: int = Field(default=16, ge=1)
    max_characters: int = Field(default=8_000, ge=1)
    timeout_seconds: float = Field(default=60.0, gt=0, le=3600)
    retries: int = Field(default=4, ge=0, le=20)
    backoff_seconds: float = Field(default=1.0, gt=0, le=60)
    concurrency: int = Field(default=1, ge=1, le=64)
    input_price: float = Field(default=0.0, ge=0)
    output_price: float = Field(default=0.0, ge=0)
    max_spend: float | None = Field(default=None, ge=0)
    api_key: str | None = None

    @model_validator(mode="after")
    def _is_usable(self) -> Self:
        """Refuse what cannot work."""
        if TEXT not in self.prompt:
            raise ValueError("prompt does not hold {text}, so every document would be asked the same; write {text}")
        if self.max_spend is not None and not (self.input_price and self.output_price):
            raise ValueError("max_spend needs prices to count with; give input_price and output_price, per token")
        if len({label.strip().casefold() for label in self.labels} - {""}) < len(self.labels):
            raise ValueError("labels are blank or differ only in case; give each its own word")
        if self.pattern is not None and (problem := _pattern_problem(self.pattern)):
            raise ValueError(f"pattern {problem}; write one group around the label, such as 'score: ([0-5])'")
        return self

    def messages(self, text: str) -> list[dict[str, str]]:
        """The conversation that asks about a text."""
        filled = self.prompt.replace(LABELS, ", ".join(self.labels)).replace(TEXT, text[: self.max_characters])
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": filled}]

    def asked(self) -> dict[str, Any]:
        """What an answer depends on beside the text."""
        return {
            n: getattr(self, n) for n in ("model", "prompt", "system", "temperature", "max_tokens", "max_characters")
        } | {"labels": list(self.labels) if LABELS in self.prompt else None}

    def secret(self) -> str | None:
        """The key, out of the environment or the file of secrets.

        Raises:
            SpecError: it is not there.
        """
        if self.api_key is None:
            return None
        return resolve(self.api_key, "the profile's api_key")


def _pattern_problem(pattern: str) -> str | None:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        return f"is no regular expression ({error})"
    return None if compiled.groups == 1 else f"has {compiled.groups} groups"


def load_profile(name: str, base: Path | None = None) -> Profile:
    """The profile in a file (relative to `base`), or the bundled one of that name.

    Raises:
        SpecError: there is none, or it is wrong.
    """
    path = _find(name, base or Path.cwd())
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"the profile {str(path)!r} cannot be read: {error}; check the path", profile=name) from error
    value = read_yaml(text, str(path))
    if not isinstance(value, dict):
        raise SpecError(f"the profile {str(path)!r} is not a mapping; write base_url, model, prompt and labels")
    if isinstance(value.get("labels"), list):
        value["labels"] = [str(x) if isinstance(x, int) else x for x in value["labels"]]
    if isinstance(value.get("api_key"), str) and not value["api_key"].startswith(REFERENCE):
        raise SpecError(  # before anything could show what was given
            f"the profile {str(path)!r} holds a key in api_key; write secret://NAME and set the variable NAME instead",
            profile=name,
        )
    try:
        profile = Profile.model_validate(value)
    except ValidationError as error:
        raise SpecError(explain(error, Profile, f"the profile {str(path)!r}"), profile=name) from error
    must_be_allowed(profile.base_url, of_environment(), name)
    return profile


def _find(name: str, base: Path) -> Path:
    bundled = {p.stem: p for p in sorted(BUNDLED.glob("*.yaml"))}
    if name in bundled:
        return bundled[name]
    path = base / Path(name).expanduser()
    if path.suffix in _SUFFIXES or path.is_file():
        return path
    raise SpecError(
        f"there is no profile {name!r}{did_you_mean(name, list(bundled))}; name a file of YAML or JSON with base_url, "
        "model, prompt and labels",
        profile=name,
    )
