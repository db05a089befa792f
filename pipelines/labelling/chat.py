"""One question to an OpenAI-compatible endpoint: retried while that may help, and told apart when it does not."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from pipelines.labelling.profile import Profile
from stages.errors import SpecError

_LONGEST_WAIT = 60.0
_UNAUTHORIZED = (401, 403)
_AGAIN = (408, 409, 425, 429)
_SERVER = 500
_BAD = 400


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the answer's text (None where the model refused), or why there is none (`lost`, `why`).

    `uncertain` counts the tries that may have been charged although nothing usable came.
    """

    content: str | None = None
    refusal: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    lost: str | None = None
    why: str = ""
    uncertain: int = 0


class Chat:
    """A client for one profile."""

    def __init__(self, profile: Profile, *, wait: Callable[[float], None] = time.sleep) -> None:
        self._profile, self._wait = profile, wait
        key = profile.secret()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(
            base_url=profile.base_url.rstrip("/"), headers=headers, timeout=profile.timeout_seconds
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, messages: list[dict[str, str]]) -> Reply:
        """The reply, after as many tries as the profile allows.

        Raises:
            SpecError: no try can succeed: the key, the address or the model is wrong.
        """
        reply, uncertain = Reply(lost="unreachable"), 0
        for attempt in range(self._profile.retries + 1):
            reply, pause = self._once(messages)
            uncertain += reply.uncertain
            if pause is None or attempt == self._profile.retries:
                break
            self._wait(pause or self._backoff(attempt))
        return Reply(
            reply.content, reply.refusal, reply.input_tokens, reply.output_tokens, reply.lost, reply.why, uncertain
        )

    def _backoff(self, attempt: int) -> float:
        """Doubling, with jitter so that many do not come back at once."""
        return float(min(_LONGEST_WAIT, self._profile.backoff_seconds * 2**attempt) * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret, and no result depends on it

    def _once(self, messages: list[dict[str, str]]) -> tuple[Reply, float | None]:
        """One try, and how long to wait before another (0: as the backoff says; None: no other can help)."""
        p = self._profile
        body = {"model": p.model, "messages": messages, "temperature": p.temperature, "max_tokens": p.max_tokens}
        try:
            response = self._client.post("/chat/completions", json=body)
        except httpx.TimeoutException as error:
            asked = not isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout)
            return Reply(lost="timeout", why=f"no answer in {p.timeout_seconds:g} s", uncertain=int(asked)), 0.0
        except httpx.HTTPError as error:
            asked = not isinstance(error, httpx.ConnectError)
            return Reply(lost="unreachable", why=str(error) or type(error).__name__, uncertain=int(asked)), 0.0
        return self._judged(response)

    def _judged(self, response: httpx.Response) -> tuple[Reply, float | None]:
        status, said = response.status_code, " ".join(response.text[:300].split())
        if status in _UNAUTHORIZED:
            raise SpecError(
                f"{self._profile.base_url} answers {status}: the key is missing, wrong or without rights; set api_key to "
                "secret://NAME and the variable NAME to a valid key"
            )
        if status == 404:  # noqa: PLR2004 - HTTP
            raise SpecError(
                f"{self._profile.base_url}/chat/completions answers 404 ({said}); check base_url and the model "
                f"{self._profile.model!r}"
            )
        if status in _AGAIN or status >= _SERVER:
            return Reply(lost="busy", why=f"status {status} {said}"), _retry_after(response)
        if status >= _BAD:
            return Reply(lost="rejected", why=f"status {status} {said}"), None
        if not response.is_success:
            raise SpecError(
                f"{self._profile.base_url} answers {status}, a redirection; write the address that it names"
            )
        return _parsed(response)


def _retry_after(response: httpx.Response) -> float:
    """The seconds that the endpoint asks to wait, at most a minute; 0 where it does not say."""
    value = response.headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return 0.0
    return min(_LONGEST_WAIT, max(0.0, seconds))


def _parsed(response: httpx.Response) -> tuple[Reply, float | None]:
    """The answer in a response, or `malformed`, which another try may mend."""
    try:
        value = response.json()
        choice = value["choices"][0]
        message = choice["message"]
        content, refusal = message.get("content"), message.get("refusal")
        usage = value.get("usage") or {}
        usage = usage if isinstance(usage, Mapping) else {}
        content = None if content is None else _text(content)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"[:200]
        return Reply(lost="malformed", why=why, uncertain=1), 0.0
    if choice.get("finish_reason") == "content_filter":
        refusal = refusal or "content filter"
    return Reply(
        content,
        None if refusal is None else str(refusal),
        _count(usage, "prompt_tokens"),
        _count(usage, "completion_tokens"),
    ), None


def _text(content: Any) -> str:
    """The content, which must be text."""
    if not isinstance(content, str):
        raise TypeError(f"the content is of type {type(content).__name__}")
    return content


def _count(usage: Mapping[str, Any], name: str) -> int | None:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
