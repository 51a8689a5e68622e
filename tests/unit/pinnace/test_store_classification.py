"""The one table of what a store's refusals mean: try again? this file or all? said in which word?"""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.records import Problem
from pinnace.stores.classification import classify
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


@pytest.mark.parametrize(
    ("status", "code", "error", "stable"),
    [
        (503, "SlowDown", TransientStoreError, "SlowDown"),
        (503, "SlowDownWrite", TransientStoreError, "SlowDown"),
        (500, "InternalError", TransientStoreError, "InternalError"),
        (400, "RequestTimeout", TransientStoreError, "RequestTimeout"),
        (403, "RequestTimeTooSkewed", TransientStoreError, "RequestTimeTooSkewed"),
        (502, "", TransientStoreError, "ServiceUnavailable"),
        (429, "", TransientStoreError, "SlowDown"),
        (404, "NoSuchKey", NoSuchObject, "NoSuchKey"),
        (404, "NoSuchUpload", NoSuchMultipart, "NoSuchUpload"),
        (400, "BadDigest", CorruptContent, "BadDigest"),
        (400, "XAmzContentSHA256Mismatch", CorruptContent, "BadDigest"),
        (400, "EntityTooSmall", TerminalStoreError, "EntityTooSmall"),
        (400, "InvalidPart", TerminalStoreError, "InvalidPart"),
        (412, "", ObjectExists, "ObjectExists"),
        (407, "", StoreRefused, "ProxyRefused"),
        (409, "ConditionalRequestConflict", TransientStoreError, "OperationAborted"),
        (400, "", TerminalStoreError, "BadRequest"),
        (403, "AccessDenied", StoreRefused, "AccessDenied"),
        (403, "", StoreRefused, "AccessDenied"),
        (403, "InvalidAccessKeyId", StoreRefused, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch", StoreRefused, "SignatureDoesNotMatch"),
        (400, "ExpiredToken", StoreRefused, "ExpiredToken"),
        (404, "NoSuchBucket", StoreRefused, "NoSuchBucket"),
        (301, "PermanentRedirect", StoreRefused, "WrongRegion"),
        (307, "", StoreRefused, "WrongRegion"),
        (400, "AuthorizationHeaderMalformed", StoreRefused, "WrongRegion"),
        (400, "XMinioAdminBucketQuotaExceeded", StoreRefused, "QuotaExceeded"),
        (507, "XMinioStorageFull", StoreRefused, "StorageFull"),
        (507, "", StoreRefused, "StorageFull"),
        (501, "NotImplemented", StoreRefused, "NotImplemented"),
        (400, "KMS.DisabledException", StoreRefused, "EncryptionKeyUnusable"),
        (200, "", TransientStoreError, "BadAnswer"),
    ],
)
def test_each_refusal_has_its_class_and_its_word(status: int, code: str, error: type[StoreError], stable: str) -> None:
    verdict = classify(status, code)
    assert (verdict.error, verdict.code) == (error, stable)


def test_an_unknown_code_is_kept_and_judged_by_its_status() -> None:
    assert classify(503, "BrandNew") == (TransientStoreError, "BrandNew", "")
    assert classify(400, "BrandNew") == (TerminalStoreError, "BrandNew", "")
    assert classify(403, "BrandNew").error is StoreRefused


@given(status=st.integers(0, 999), code=st.text(max_size=120))
def test_whatever_a_store_answers_becomes_a_word_that_a_report_can_carry(status: int, code: str) -> None:
    verdict = classify(status, code)
    error = verdict.error("message", code=verdict.code, hint=verdict.hint, status=status)
    problem = msgspec.convert({"reason": error.code, "message": error.hint}, Problem)
    assert problem.reason == error.code


def test_the_two_questions_have_one_answer_for_each_class() -> None:
    answers = {
        kind: (kind.try_again, kind.whole_store)
        for kind in (
            TransientStoreError,
            StoreUnreachable,
            TerminalStoreError,
            NoSuchObject,
            NoSuchMultipart,
            CorruptContent,
            StoreRefused,
            CredentialsMissing,
        )
    }
    assert answers == {
        TransientStoreError: (True, False),
        StoreUnreachable: (True, True),
        TerminalStoreError: (False, False),
        NoSuchObject: (False, False),
        NoSuchMultipart: (False, False),
        CorruptContent: (False, False),
        StoreRefused: (False, True),
        CredentialsMissing: (False, True),
    }


@pytest.mark.parametrize(
    "code", ["AccessDenied", "NoSuchBucket", "InvalidAccessKeyId", "ExpiredToken", "QuotaExceeded", "PermanentRedirect"]
)
def test_whoever_must_mend_something_is_told_what(code: str) -> None:
    assert len(classify(403, code).hint) > 20
