"""What an error answer of an S3-compatible store means: `classify(status, code)`, one table.

The row says whether to try again and whether this object or every one is concerned (see store.py), and what a person
can do. Stores spell the same fact differently; it gets one code here, so that conditions, metrics and alerts don't
depend on the store. A code that isn't here is judged by its HTTP status.
"""

import re
from typing import Final, NamedTuple

from pinnace.stores.store import (
    CorruptContent,
    CredentialsMissing,
    NoSuchMultipart,
    NoSuchObject,
    ObjectExists,
    StoreError,
    StoreRefused,
    StoreUnreachable,
    TerminalStoreError,
    TransientStoreError,
)


class Verdict(NamedTuple):
    """The class of the error, its stable code and a hint (maybe empty)."""

    error: type[StoreError]
    code: str
    hint: str = ""


def _means(error: type[StoreError], names: str, *, code: str = "", hint: str = "") -> dict[str, Verdict]:
    return {name: Verdict(error, code or name, hint) for name in names.split()}


_KEY_HINT = "check that the store's credentials are its own, whole and not revoked"
_TOKEN_HINT = "renew the store's credentials (a changed Secret is picked up by itself)"  # noqa: S105
_FULL_HINT = "free space in the store or raise its quota"

_UNKNOWN_HINT: Final = "turn off what the store doesn't know: checksums, conditional_writes, server_side_encryption"
PROXY_HINT: Final = "put `user:password` for the proxy into the file PROXY_CREDENTIALS beside the store's credentials"

_BY_CODE: Final[dict[str, Verdict]] = {
    # Works in a moment.
    **_means(TransientStoreError, "InternalError RequestTimeout OperationAborted IncompleteBody"),
    **_means(TransientStoreError, "ConditionalRequestConflict", code="OperationAborted"),
    **_means(TransientStoreError, "ServiceUnavailable XMinioServerNotInitialized", code="ServiceUnavailable"),
    **_means(
        TransientStoreError,
        "SlowDown SlowDownRead SlowDownWrite TooManyRequests Throttling RequestLimitExceeded",
        code="SlowDown",
    ),
    # The store's clock is learnt from its answer, so the next call is signed with the right time.
    **_means(TransientStoreError, "RequestTimeTooSkewed", hint="set this machine's clock"),
    # This object only.
    **_means(NoSuchObject, "NoSuchKey NoSuchVersion", code="NoSuchKey"),
    **_means(NoSuchMultipart, "NoSuchUpload"),
    **_means(
        CorruptContent,
        "BadDigest XAmzContentSHA256Mismatch XAmzContentChecksumMismatch",
        code="BadDigest",
        hint="hash the source again; send it again only when it still has that digest",
    ),
    **_means(
        TerminalStoreError, "KeyTooLongError XMinioInvalidObjectName XMinioInvalidResourceName", code="InvalidKey"
    ),
    **_means(
        TerminalStoreError,
        "EntityTooLarge MaxMessageLengthExceeded",
        code="EntityTooLarge",
        hint="let the store, and a proxy before it, take larger requests",
    ),
    **_means(
        ObjectExists,
        "PreconditionFailed",
        code="ObjectExists",
        hint="find out who wrote there; nothing was overwritten",
    ),
    # Every object, until a person does something.
    **_means(
        StoreRefused,
        "AccessDenied AllAccessDisabled",
        code="AccessDenied",
        hint="give the access key s3:PutObject, GetObject, AbortMultipartUpload, ListMultipartUploadParts, ListBucket",
    ),
    **_means(StoreRefused, "InvalidAccessKeyId SignatureDoesNotMatch NotSignedUp AccountProblem", hint=_KEY_HINT),
    **_means(
        StoreRefused, "ExpiredToken ExpiredTokenException TokenRefreshRequired", code="ExpiredToken", hint=_TOKEN_HINT
    ),
    **_means(StoreRefused, "InvalidToken InvalidTokenId", code="InvalidToken", hint=_TOKEN_HINT),
    **_means(StoreRefused, "NoSuchBucket", hint="create the bucket, or correct its name in the store's settings"),
    **_means(StoreRefused, "InvalidBucketName", hint="correct the bucket's name in the store's settings"),
    **_means(
        StoreRefused,
        "PermanentRedirect TemporaryRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException",
        code="WrongRegion",
        hint="set the store's region to the bucket's own",
    ),
    **_means(StoreRefused, "QuotaExceeded XMinioAdminBucketQuotaExceeded", code="QuotaExceeded", hint=_FULL_HINT),
    **_means(StoreRefused, "StorageFull XMinioStorageFull InsufficientStorage", code="StorageFull", hint=_FULL_HINT),
    **_means(
        StoreRefused,
        "KMS.DisabledException KMS.NotFoundException KMS.AccessDeniedException KMSNotConfigured",
        code="EncryptionKeyUnusable",
        hint="check the bucket's encryption key and the access key's rights to it",
    ),
    # A store that doesn't know a header or method doesn't know it for any object.
    **_means(StoreRefused, "NotImplemented", hint=_UNKNOWN_HINT),
    **_means(StoreRefused, "MethodNotAllowed", hint="does the endpoint belong to an S3-compatible store?"),
}

_BY_STATUS: Final[dict[int, Verdict]] = {
    401: Verdict(StoreRefused, "AccessDenied", _KEY_HINT),
    403: _BY_CODE["AccessDenied"],
    404: _BY_CODE["NoSuchKey"],
    405: _BY_CODE["MethodNotAllowed"],
    407: Verdict(StoreRefused, "ProxyRefused", PROXY_HINT),
    408: _BY_CODE["RequestTimeout"],
    412: _BY_CODE["PreconditionFailed"],
    413: _BY_CODE["EntityTooLarge"],
    416: Verdict(TerminalStoreError, "InvalidRange"),
    429: _BY_CODE["SlowDown"],
    501: _BY_CODE["NotImplemented"],
    507: _BY_CODE["StorageFull"],
}
_BY_HUNDREDS: Final[dict[int, Verdict]] = {
    3: _BY_CODE["PermanentRedirect"],
    4: Verdict(TerminalStoreError, "BadRequest"),
    5: _BY_CODE["ServiceUnavailable"],
}
#: An answer that S3 does not give: half a document, an odd status, a proxy's page.
BAD_ANSWER: Final = Verdict(TransientStoreError, "BadAnswer", "does the endpoint belong to an S3-compatible store?")

#: What is found out on this side of the connection.
_OURS: Final = (
    Verdict(StoreUnreachable, "StoreUnreachable", "check that the store runs and that its endpoint is right"),
    Verdict(CredentialsMissing, "CredentialsMissing", "mount the Secret with the store's credentials"),
    Verdict(StoreRefused, "CertificateNotTrusted", "name the ConfigMap with the authority that signed it"),
    Verdict(StoreRefused, "CaFileUnusable", "put the authority as PEM into the ConfigMap"),
    Verdict(StoreRefused, "NotEncrypted", "leave the encryption to the bucket, or use a store that can"),
    Verdict(CorruptContent, "SourceTooShort", "hash the source again"),
    BAD_ANSWER,
)

_STABLE_CODE: Final = re.compile("[A-Z][A-Za-z0-9]{0,99}")


class Row(NamedTuple):
    """A stable code: its class, how stores spell it (codes and statuses), and what to do."""

    code: str
    error: type[StoreError]
    spellings: tuple[str, ...]
    hint: str


def table() -> list[Row]:
    """Everything that can come out of `classify` or of the connection, a row per code, by code."""
    found = {verdict.code: Row(verdict.code, verdict.error, (), verdict.hint) for verdict in _OURS}
    known = {**_BY_CODE, **{str(status): verdict for status, verdict in _BY_STATUS.items()}}
    known |= {f"{hundreds}xx": verdict for hundreds, verdict in _BY_HUNDREDS.items()}
    for spelling, verdict in known.items():
        before = found.get(verdict.code, Row(verdict.code, verdict.error, (), ""))
        found[verdict.code] = before._replace(spellings=(*before.spellings, spelling), hint=before.hint or verdict.hint)
    return sorted(found.values())


def classify(status: int, code: str = "") -> Verdict:
    """What an answer of `status` with the store's `code` (empty: it gave none) means. Total: never raises."""
    if verdict := _BY_CODE.get(code):
        return verdict
    verdict = _BY_STATUS.get(status) or _BY_HUNDREDS.get(status // 100, BAD_ANSWER)
    return verdict._replace(code=code) if _STABLE_CODE.fullmatch(code) else verdict
