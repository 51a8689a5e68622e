"""Why a call of the metadata API did not do what was asked.

ApiError                what all of them have in common
├── Unreachable         no answer: network, TLS, time-out; the request may or may not have been carried out
├── Unavailable         503 or 429: the API is there and can't answer at the moment
├── Unauthorized        401, or a token that can't be read
├── Forbidden           403: the token is good, but not for this
├── NotFound            404; `code` tells a missing iteration from a missing route
│   └── Gone            410: it was there, and a retention policy removed it
├── Conflict            409: the id holds other content that may not change
├── Invalid             422 or 413: the request itself is wrong; `field` says where
└── Unexpected          any other answer: 500, a redirect, a body that isn't the API's

`transient` is True for the first two: the same call is worth repeating as it is. Every call of the client is
idempotent, so repeating one whose answer got lost is harmless.
"""

from typing import ClassVar

from pinnace.errors import PinnaceError


class ApiError(PinnaceError):
    """The metadata API refused or could not be reached.

    `status` is the HTTP status, None when there was no answer; `code` the API's stable word for the reason;
    `detail` its sentence; `field` the wrong field of the request; `request_id` finds the request in the API's log.
    """

    transient: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str = "",
        detail: str = "",
        hint: str = "",
        field: str = "",
        request_id: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.detail = detail or message
        self.field = field
        self.request_id = request_id


class Unreachable(ApiError):
    """No answer came. Trying again can help."""

    transient = True


class Unavailable(ApiError):
    """The API can't answer at the moment. `retry_after` is its own wish in seconds, None without one."""

    transient = True
    retry_after: float | None = None


class Unauthorized(ApiError):
    """The API does not know who is calling. Helps: another token (a rotated one is read at the next call)."""


class Forbidden(ApiError):
    """The caller may not do this."""


class NotFound(ApiError):
    """It isn't there; for an iteration or experiment that another part is about to create: not there yet."""


class Gone(NotFound):
    """It was there; `detail` says when it was removed, by which policy and by whom."""


class Conflict(ApiError):
    """The id is taken by other content. The same call will never succeed."""


class Invalid(ApiError):
    """The request is wrong or too large. The same call will never succeed."""


class Unexpected(ApiError):
    """An answer that the API does not give when it is well, or that is not the API's at all."""


def error_type(status: int) -> type[ApiError]:
    """The error for an answer with this HTTP status."""
    return {
        401: Unauthorized,
        403: Forbidden,
        404: NotFound,
        410: Gone,
        409: Conflict,
        413: Invalid,
        422: Invalid,
        429: Unavailable,
        503: Unavailable,
    }.get(status, Unexpected)
