"""What the API says no with: one tree of refusals, free of HTTP libraries (problems.py writes them down).

Refused                      status and stable `code` are the class's; detail, hint and field belong to the case
├── Unauthorized             401 unauthorized, with WWW-Authenticate
├── Forbidden                403 forbidden
├── NotFound                 404 not-found
│   ├── ExperimentNotFound   404 experiment-not-found
│   ├── IterationNotFound    404 iteration-not-found
│   ├── BytesMissing         404 bytes-missing: the row is there, what it names is not
│   └── Gone                 410 gone: removed by a retention policy
├── MethodNotAllowed         405 method-not-allowed
├── TimedOut                 408 timed-out
├── Conflict                 409 conflict
│   ├── ObjectNotRecorded    409 object-not-recorded
│   ├── Held                 409 held: a legal hold is on it
│   ├── StorageUnknown       409 storage-unknown: bytes lie where this API isn't configured to look
│   └── OffsetMismatch       409 offset-mismatch
├── PreconditionFailed       412 precondition-failed
├── TooLarge                 413 too-large
├── RangeUnsatisfiable       416 range
├── TooManyAttempts          429 too-many-attempts, with Retry-After
├── Invalid                  422 invalid, with `field` where it is known
├── Unavailable              503 unavailable, with Retry-After
│   ├── NotReady             503 not-ready
│   └── Stopping             503 stopping: this process ends; what has arrived of an upload stays
├── StorageFull              507 storage-full
├── BytesCorrupt             500 bytes-corrupt: the store's bytes are not those that were recorded
└── Broken                   500 internal: a defect of the API
"""

import math
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import ClassVar
from uuid import UUID

from pinnace.records import Location, ProblemDetails


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


class BytesMissing(NotFound):
    code = "bytes-missing"

    def __init__(self, location: Location) -> None:
        super().__init__(
            f"the bytes are not where they were recorded: {named(location)}",
            hint="the artifact stays recorded; bring the bytes back from a backup, or upload the file again",
        )


class Gone(NotFound):
    """It was there, and what is left of it says what became of it."""

    status = HTTPStatus.GONE
    code = "gone"


class MethodNotAllowed(Refused):
    status = HTTPStatus.METHOD_NOT_ALLOWED
    code = "method-not-allowed"


class Conflict(Refused):
    status = HTTPStatus.CONFLICT
    code = "conflict"


class ObjectNotRecorded(Conflict):
    code = "object-not-recorded"


class Held(Conflict):
    code = "held"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is under a legal hold", hint="an admin of the project lifts it")


class StorageUnknown(Conflict):
    code = "storage-unknown"

    def __init__(self, location: Location) -> None:
        super().__init__(
            f"the bytes lie where this API is not configured to look: {named(location)}",
            hint="configure the backend of old bytes too: PINNACE_API_ARTIFACTS_DIR, PINNACE_STORE_…, or "
            "PINNACE_API_STORE_ENDPOINTS",
        )


class OffsetMismatch(Conflict):
    """What arrives does not begin where what has arrived ends."""

    code = "offset-mismatch"

    def __init__(self, offset: int) -> None:
        super().__init__(f"{offset} bytes have arrived", hint="go on from there", field="upload-offset")
        self._offset = offset

    @property
    def headers(self) -> Mapping[str, str]:
        return {"upload-offset": str(self._offset)}


class PreconditionFailed(Refused):
    status = HTTPStatus.PRECONDITION_FAILED
    code = "precondition-failed"


class RangeUnsatisfiable(Refused):
    status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    code = "range"

    def __init__(self, size: int) -> None:
        super().__init__(f"there are {size} bytes", field="range")
        self._size = size

    @property
    def headers(self) -> Mapping[str, str]:
        return {"content-range": f"bytes */{self._size}"}


class Ended(Conflict):
    """What has ended takes no more of this."""

    code = "ended"


class TimedOut(Refused):
    """The rest of the body did not come."""

    status = HTTPStatus.REQUEST_TIMEOUT
    code = "timed-out"


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


class NotReady(Unavailable):
    """Something that the API works with does not answer."""

    code = "not-ready"


class Stopping(Unavailable):
    """The process has been asked to end. `received`: where an upload in several requests goes on; None: it is none."""

    code = "stopping"

    def __init__(self, received: int | None = None) -> None:
        go_on = "ask HEAD for Upload-Offset and go on from there"
        whole = "send it again; an upload in several requests (PUT …/uploads/{id}) goes on where it broke off"
        super().__init__("the API is being stopped", hint=whole if received is None else go_on)
        self._received = received

    @property
    def headers(self) -> Mapping[str, str]:
        own = {} if self._received is None else {"upload-offset": str(self._received), "upload-complete": "?0"}
        return {**self.fixed_headers, **own}


class Broken(Refused):
    """500: a defect. What went wrong is in the log, not in the answer."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    code = "internal"


class StorageFull(Refused):
    status = HTTPStatus.INSUFFICIENT_STORAGE
    code = "storage-full"

    def __init__(self, detail: str, *, hint: str = "nothing was recorded; make room, then send it again") -> None:
        super().__init__(detail, hint=hint)


class BytesCorrupt(Refused):
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    code = "bytes-corrupt"

    def __init__(self, location: Location, what: str) -> None:
        super().__init__(
            f"the bytes are not those that were recorded: {named(location)} has {what}",
            hint="bring them back from a backup, or delete the artifact and upload the file again",
        )


def named(location: Location) -> str:
    """A location in one word."""
    where = "/".join(part for part in (location.endpoint, location.bucket, location.key) if part)
    return f"{location.backend}:{where}"
