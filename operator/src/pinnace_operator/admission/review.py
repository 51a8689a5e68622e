"""AdmissionReview v1: the API server's question as a value, and the answer to it. Pure."""

import base64
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from pinnace.errors import PinnaceError

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"

#: Of what is shown to the user; API servers cut off longer warnings.
MAX_WARNING: Final = 250
MAX_MESSAGE: Final = 2048


class UnreadableError(PinnaceError):
    """What came in is no AdmissionReview of this version, or not for this hook."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Unknown fields are ignored."""


class Kind(_Part, frozen=True, kw_only=True):
    group: str = ""
    version: str
    kind: str


class Request(_Part, frozen=True, kw_only=True):
    uid: str
    kind: Kind
    operation: str
    namespace: str = ""
    #: Empty where the API server is yet to make one up.
    name: str = ""
    object: dict[str, Any] | None = None
    old_object: dict[str, Any] | None = None
    dry_run: bool = False


class _Review(_Part, frozen=True, kw_only=True):
    api_version: str
    kind: str
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the API server is to do with the object. Without a refusal: take it, changed by `patch`."""

    refusal: str = ""
    #: Of a refusal: 422 for what the object says, 503 for what may pass by itself.
    code: int = 422
    warnings: tuple[str, ...] = ()
    #: Operations of a JSON patch (RFC 6902).
    patch: tuple[dict[str, Any], ...] = ()


class Outcome(StrEnum):
    """What came of a request."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    #: Without a decision: too late, unreadable, or a defect.
    FAILED = "failed"


def refused(why: str, *, code: int = 422) -> Decision:
    return Decision(refusal=why, code=code)


def read(body: bytes) -> Request:
    """Raises UnreadableError."""
    try:
        review = msgspec.json.decode(body, type=_Review)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableError(f"this is not an AdmissionReview: {error}") from error
    if (review.api_version, review.kind) != (API_VERSION, KIND):
        raise UnreadableError(
            f"{review.api_version} {review.kind} is not understood: name v1 in the webhook's admissionReviewVersions"
        )
    return review.request


_REASONS: Final = {422: "Invalid", 503: "ServiceUnavailable", 504: "Timeout"}


def answer(uid: str, decision: Decision) -> bytes:
    response: dict[str, Any] = {"uid": uid, "allowed": not decision.refusal}
    if decision.refusal:
        response["status"] = {
            "code": decision.code,
            "reason": _REASONS[decision.code],
            "message": _cut(decision.refusal, MAX_MESSAGE),
        }
    elif decision.patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(msgspec.json.encode(decision.patch)).decode()
    if decision.warnings:
        response["warnings"] = [_cut(warning, MAX_WARNING) for warning in decision.warnings]
    return msgspec.json.encode({"apiVersion": API_VERSION, "kind": KIND, "response": response})


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
