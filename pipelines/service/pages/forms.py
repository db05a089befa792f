"""What a form of a page is held to before it changes anything.

A browser sends its cookie along with whatever another site makes it send (SameSite=Strict is the first guard), and says in Origin
who made it ask. A form of ours says our own.
"""

from urllib.parse import urlsplit

from fastapi import Depends, Request

from pipelines.service.tokens import ForbiddenError


def same_origin(request: Request) -> None:
    """See whether a page of ours asks.

    Raises:
        ForbiddenError: another does, or who asks does not say; programs use `/v1`.
    """
    origin = request.headers.get("Origin")
    asked = request.headers.get("Host", "")
    if origin is None or urlsplit(origin).netloc.lower() != asked.lower():
        raise ForbiddenError(
            "this form was sent from another site than this one, so nothing was changed; open the page here and send it again"
        )


#: What every route of a page that changes something depends on.
FromHere = Depends(same_origin)
