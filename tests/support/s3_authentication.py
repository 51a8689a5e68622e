"""Are a request's signature and digests right? Signatures are made by botocore, not by the code under test."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from support.s3_exchange import Request, S3Error
from support.s3_objects import crc32c_of


def check_signature(request: Request, secrets: Mapping[str, str], expired_tokens: set[str], now: datetime) -> None:
    """Raises S3Error unless one of the keys in `secrets` signed the request, just now."""
    authorization = request.headers.get("authorization", "")
    fields = dict(part.strip().partition("=")[::2] for part in authorization.partition(" ")[2].split(","))
    access_key = fields.get("Credential", "").partition("/")[0]
    secret = secrets.get(access_key)
    if secret is None:
        raise S3Error(403, "InvalidAccessKeyId" if access_key else "AccessDenied")
    token = request.headers.get("x-amz-security-token", "")
    if token in expired_tokens:
        raise S3Error(400, "ExpiredToken", "The provided token has expired.")
    date = request.headers.get("x-amz-date", "")
    if abs(datetime.strptime(date, "%Y%m%dT%H%M%S%z") - now) > timedelta(minutes=15):
        raise S3Error(403, "RequestTimeTooSkewed", "The difference between the request time and now is too large.")
    if fields.get("Signature") != _expected_signature(request, fields, Credentials(access_key, secret, token or None)):
        raise S3Error(403, "SignatureDoesNotMatch")


def check_digests(request: Request) -> None:
    """Raises S3Error unless the body is what the headers say of it."""
    stated = request.headers.get("x-amz-content-sha256", "")
    if stated != "UNSIGNED-PAYLOAD" and stated != hashlib.sha256(request.body).hexdigest():
        raise S3Error(400, "XAmzContentSHA256Mismatch")
    crc32c = request.headers.get("x-amz-checksum-crc32c")
    # With Complete it is the whole object's.
    is_of_body = request.operation != "Complete"
    if crc32c is not None and is_of_body and request.body and crc32c != crc32c_of(request.body):
        raise S3Error(400, "BadDigest", "The CRC32C you specified did not match the calculated checksum.")


def _expected_signature(request: Request, fields: dict[str, str], credentials: Credentials) -> str:
    signed = fields["SignedHeaders"].split(";")
    headers = {name: request.headers[name] for name in signed if name in request.headers}
    aws = AWSRequest(method=request.method, url=f"http://{request.headers['host']}{request.target}", headers=headers)
    aws.context["timestamp"] = request.headers["x-amz-date"]
    signer = _Signer(credentials, "s3", fields["Credential"].split("/")[2])
    signer.stated = request.headers.get("x-amz-content-sha256", "")
    canonical = signer.canonical_request(aws)
    return signer.signature(signer.string_to_sign(aws, canonical), aws)  # type: ignore[no-any-return]


class _Signer(S3SigV4Auth):  # type: ignore[misc]
    """botocore's signer with the payload's digest as the request states it."""

    stated = ""

    def payload(self, request: AWSRequest) -> str:
        return self.stated
