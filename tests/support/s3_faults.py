"""What can go wrong with a request to the S3 server of the tests, and what that server knows of S3."""

from dataclasses import dataclass, field
from enum import StrEnum

from support.s3_exchange import Answer, S3Error, error_answer


class Misbehaviour(StrEnum):
    """What can go wrong. `stored` ones carry the request out before they fail: the ambiguous cases."""

    RESET_BEFORE_BODY = "reset before the body is read"
    RESET_MID_BODY = "reset in the middle of the body"
    RESET_AFTER_BODY = "reset after the last byte, nothing stored"
    RESET_AFTER_STORED = "reset after the last byte, stored"
    STATUS = "a status and code, nothing stored"
    STATUS_STORED = "a status and code, stored"
    ERROR_IN_200 = "status 200 with an <Error> body, nothing stored"
    TRUNCATED_ANSWER = "stored, and the answer ends in the middle"
    WRONG_ETAG = "stored, and another ETag answered"
    LOSES_BYTES = "acknowledged, but stored without its last byte"
    WRONG_CONTENT = "acknowledged, but other content of the same size stored"
    SLOW = "stored, answered after `seconds`"


class Unknown(StrEnum):
    """What a server does about a header that it doesn't know."""

    REFUSED = "a 501"
    INVALID = "a 400 InvalidArgument"
    IGNORED = "nothing"


@dataclass(slots=True, kw_only=True)
class Traits:
    """What a server knows of S3 beyond what they all do; `unknown`: what it does about the rest."""

    checksums: bool = True
    whole_checksums: bool = True
    conditions: bool = True
    encryption: bool = True
    #: Encrypted by KMS without having been asked to, as a bucket's default does it.
    always_kms: bool = False
    #: ETags are MD5s.
    md5_etags: bool = True
    #: Takes `UNSIGNED-PAYLOAD`; a bucket's policy can forbid it.
    bare_bodies: bool = True
    unknown: Unknown = Unknown.REFUSED


@dataclass(slots=True, kw_only=True)
class Fault:
    """One rule: `operation` as in `Request.operation` or `*`; carried out `times` times."""

    kind: Misbehaviour
    operation: str = "*"
    key: str = ""
    times: int = 1
    status: int = 503
    code: str = "SlowDown"
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def answer(self) -> Answer:
        status = 200 if self.kind is Misbehaviour.ERROR_IN_200 else self.status
        return error_answer(S3Error(status, self.code, "on command", **self.headers))
