"""Which addresses of language models may be asked. On a person's own machine: any. For a service: those that it was started with.

A list of addresses is held against, never a look-up of names: what a name resolves to may change between the look and the call.
"""

import json
import os
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from stages.errors import SpecError

#: A JSON list of addresses; set by the service for the processes that do its work. Unset: any address.
VARIABLE = "TAMIS_ENDPOINTS"
_PORTS = {"http": 80, "https": 443}


def must_be_allowed(url: str, endpoints: Sequence[str] | None, profile: str) -> None:
    """See whether a profile's address is one of those, or below one; None: any is.

    Raises:
        SpecError: it is not.
    """
    if endpoints is None or any(_below(url, allowed) for allowed in endpoints):
        return
    raise SpecError(
        f"the profile {profile!r} asks an address that this service does not; start the service with --endpoint and its base_url",
        profile=profile,
    )


def of_environment() -> tuple[str, ...] | None:
    """The addresses that this process may ask; None: any."""
    given = os.environ.get(VARIABLE)
    return None if given is None else tuple(json.loads(given))


def _below(url: str, allowed: str) -> bool:
    try:
        asked, given = urlsplit(url), urlsplit(allowed)
        same = _place(asked) == _place(given)
    except ValueError:
        return False
    folder = given.path.rstrip("/") + "/"
    plain = asked.username is None and not {"..", "."}.intersection(asked.path.split("/")) and "%" not in asked.path
    return same and plain and (asked.path.rstrip("/") + "/").startswith(folder)


def _place(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or _PORTS.get(url.scheme)
