"""What a refused request is answered with."""

from pinnace.records.record import Record


class ProblemDetails(Record, frozen=True, kw_only=True):
    """RFC 9457 `application/problem+json`, with a stable `code` and a `hint` for a person."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str = ""
    hint: str = ""
    #: Which field of the request is wrong, where that is known: `points[3].value`.
    field: str = ""
    #: What the request is called in the API's log.
    request_id: str = ""
