"""What the API says no with: one tree of refusals, free of HTTP libraries (problems.py writes them down).

Refused                      status and stable `code` are the class's; detail, hint and field belong to the case
├── Unauthorized             401 unauthorized, with WWW-Authenticate
├── Forbidden                403 forbidden
├── NotFound                 404 not-found
│   ├── ExperimentNotFound   404 experiment-not-found
│   └── IterationNotFound    404 iteration-not-found
├── MethodNotAllowed         405 method-not-allowed
├── Conflict                 409 conflict
│   └── ObjectNotRecorded    409 object-not-recorded
├── TooLarge                 413 too-large
├── TooManyAttempts          429 too-many-attempts, with Retry-After
├── Invalid                  422 invalid, with `field` where it is known
├── Unavailable              503 unavailable, with Retry-After
└── Broken                   500 internal: a defect of the API
"""

import math
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import ClassVar
from uuid import UUID

from pinnace.records import ProblemDetails


class Refused(Exception):
    """A request that is not carried out. Nothing was stored."""

    status: ClassVar[HTTPStatus]
    code: ClassVar[str]
    fixed_headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, detail: str = "", *, hint: str = "", field: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.field = field

    @property
    def headers(self) -> Mapping[str, str]:
        return self.fixed_headers

    def to_problem(self) -> ProblemDetails:
        return ProblemDetails(
            title=self.status.phrase,
            status=self.status,
            code=self.code,
            detail=self.detail,
            hint=self.hint,
            field=self.field,
        )


class Unauthorized(Refused):
    status = HTTPStatus.UNAUTHORIZED
    code = "unauthorized"
    fixed_headers: ClassVar[Mapping[str, str]] = {"www-authenticate": 'Bearer realm="pinnace"'}


class Forbidden(Refused):
    status = HTTPStatus.FORBIDDEN
    code = "forbidden"


class NotFound(Refused):
    status = HTTPStatus.NOT_FOUND
    code = "not-found"


class ExperimentNotFound(NotFound):
    code = "experiment-not-found"

    def __init__(self, experiment: UUID) -> None:
        super().__init__(f"there is no experiment {experiment}", hint="it may be about to be registered; try again")


class IterationNotFound(NotFound):
    code = "iteration-not-found"

    def __init__(self, iteration: UUID) -> None:
        super().__init__(f"there is no iteration {iteration}", hint="it may be about to be registered; try again")


class MethodNotAllowed(Refused):
    status = HTTPStatus.METHOD_NOT_ALLOWED
    code = "method-not-allowed"


class Conflict(Refused):
    status = HTTPStatus.CONFLICT
    code = "conflict"


class ObjectNotRecorded(Conflict):
    code = "object-not-recorded"


class Ended(Conflict):
    """What has ended takes no more of this."""

    code = "ended"


class Trashed(Conflict):
    """What lies in the trash takes nothing."""

    code = "trashed"


class TooLarge(Refused):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "too-large"


class Invalid(Refused):
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "invalid"


class TooManyAttempts(Refused):
    """Says the same of every name, whether or not there is such a user."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "too-many-attempts"

    def __init__(self, wait: timedelta) -> None:
        super().__init__("there were too many wrong attempts", hint="wait as long as Retry-After says")
        self.wait = wait

    @property
    def headers(self) -> Mapping[str, str]:
        return {"retry-after": str(math.ceil(self.wait.total_seconds()))}


class Unavailable(Refused):
    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "unavailable"
    fixed_headers: ClassVar[Mapping[str, str]] = {"retry-after": "1"}


class Broken(Refused):
    """500: a defect. What went wrong is in the log, not in the answer."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    code = "internal"
