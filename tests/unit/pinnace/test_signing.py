"""SigV4 against botocore's own signer over generated requests, and what a caller may rely on."""

from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from pinnace import signing
from pinnace.digests import EMPTY_SHA256
from pinnace.signing import Credentials, Request

NOW = datetime(2026, 2, 28, 23, 59, 58, tzinfo=UTC)
TIMESTAMP = "20260228T235958Z"
REGION = "eu-central-1"
HOST = "store.example:9000"

characters = st.characters(exclude_categories=["Cs"])
keys = st.text(characters, min_size=1, max_size=40) | st.text("ab/.~ %+*'()$&=?#é😀\n", min_size=1, max_size=20)
queries = st.lists(st.tuples(st.text(characters, min_size=1, max_size=8), st.text(characters, max_size=8)), max_size=4)
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20)
headers = st.dictionaries(st.from_regex(r"x-amz-meta-[a-z0-9-]{1,8}", fullmatch=True), header_values, max_size=4)
credentials = st.builds(
    Credentials,
    access_key_id=st.just("AKIDEXAMPLE"),
    secret_access_key=st.sampled_from(["wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "s"]),
    session_token=st.sampled_from(["", "FwoGZXIvYXdzE//token+=="]),
)


def signed_by_botocore(request: Request, credentials: Credentials) -> AWSRequest:
    """The same request signed by botocore, which is given the undecoded URL that would go over the wire."""
    theirs = AWSRequest(
        method=request.method,
        url=f"http://{request.host}{request.target}",
        headers={**request.headers, "host": request.host},
        data=b"",
    )
    theirs.context["timestamp"] = TIMESTAMP
    signer = S3SigV4Auth(
        BotocoreCredentials(
            credentials.access_key_id, credentials.secret_access_key, credentials.session_token or None
        ),
        "s3",
        REGION,
    )
    theirs.headers["X-Amz-Date"] = TIMESTAMP
    theirs.headers["X-Amz-Content-SHA256"] = request.payload_sha256
    if credentials.session_token:
        theirs.headers["X-Amz-Security-Token"] = credentials.session_token
    canonical = signer.canonical_request(theirs)
    signature = signer.signature(signer.string_to_sign(theirs, canonical), theirs)
    theirs.context["canonical"] = canonical
    theirs.context["signature"] = signature
    return theirs


@given(key=keys, query=queries, headers=headers, credentials=credentials)
def test_failure_24_any_request_is_signed_as_botocore_signs_it(
    key: str, query: list[tuple[str, str]], headers: dict[str, str], credentials: Credentials
) -> None:
    request = Request(
        method="PUT",
        host=HOST,
        path=signing.encode_path("bucket", key),
        query=signing.encode_query(query),
        headers=headers,
        payload_sha256=EMPTY_SHA256,
    )
    ours = signing.sign(request, credentials, REGION, NOW)
    theirs = signed_by_botocore(request, credentials)
    to_sign = {name: value for name, value in ours.items() if name != "authorization"}
    assert signing.canonical_request(request, to_sign) == theirs.context["canonical"]
    assert ours["authorization"].endswith(f"Signature={theirs.context['signature']}")


@given(key=keys, credentials=credentials)
def test_failure_24_any_object_is_presigned_as_botocore_presigns_it(key: str, credentials: Credentials) -> None:
    path = signing.encode_path("bucket", key)
    request = Request(method="GET", host=HOST, path=path, payload_sha256=EMPTY_SHA256)
    theirs = AWSRequest(method="GET", url=f"http://{HOST}{path}")
    BotocorePresigner(credentials).add_auth(theirs)
    ours = signing.presign(request, credentials, REGION, NOW, seconds=600)
    assert sorted(ours.partition("?")[2].split("&")) == sorted(str(theirs.url).partition("?")[2].split("&"))


class BotocorePresigner(S3SigV4QueryAuth):  # type: ignore[misc]
    """botocore's presigner at our time."""

    def __init__(self, credentials: Credentials) -> None:
        token = credentials.session_token or None
        theirs = BotocoreCredentials(credentials.access_key_id, credentials.secret_access_key, token)
        super().__init__(theirs, "s3", REGION, expires=600)

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        request.context["timestamp"] = TIMESTAMP
        super()._modify_request_before_signing(request)


@given(key=keys)
def test_a_path_decodes_to_its_key_and_is_encoded_once(key: str) -> None:
    path = signing.encode_path("bucket", key)
    assert path == "/bucket/" + "/".join(quote(part, safe="~") for part in key.split("/"))


def test_dots_and_double_slashes_in_a_key_stay_as_they_are() -> None:
    assert signing.encode_path("bucket", "a//b/../c/./d") == "/bucket/a//b/../c/./d"


def test_query_parameters_are_sorted_by_name_before_value() -> None:
    assert signing.encode_query([("a-", "1"), ("a", "2"), ("a", "1")]) == "a=1&a=2&a-=1"


def test_the_session_token_is_sent_and_signed() -> None:
    request = Request(method="GET", host=HOST, path="/", payload_sha256=EMPTY_SHA256)
    token = Credentials(access_key_id="AKID", secret_access_key="secret", session_token="token")
    headers = signing.sign(request, token, REGION, NOW)
    assert headers["x-amz-security-token"] == "token"
    assert "x-amz-date;x-amz-security-token" in headers["authorization"]


def test_the_time_is_signed_in_utc_wherever_it_was_read() -> None:
    request = Request(method="GET", host=HOST, path="/", payload_sha256=EMPTY_SHA256)
    key = Credentials(access_key_id="AKID", secret_access_key="secret")
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    assert signing.sign(request, key, REGION, elsewhere) == signing.sign(request, key, REGION, NOW)


def test_a_time_without_a_zone_is_refused() -> None:
    request = Request(method="GET", host=HOST, path="/", payload_sha256=EMPTY_SHA256)
    key = Credentials(access_key_id="AKID", secret_access_key="secret")
    with pytest.raises(ValueError, match="time zone"):
        signing.sign(request, key, REGION, NOW.replace(tzinfo=None))


@pytest.mark.parametrize("seconds", [0, signing.MAX_PRESIGNED_SECONDS + 1])
def test_a_presigned_url_lives_at_most_a_week(seconds: int) -> None:
    request = Request(method="GET", host=HOST, path="/", payload_sha256=EMPTY_SHA256)
    key = Credentials(access_key_id="AKID", secret_access_key="secret")
    with pytest.raises(ValueError, match="lives"):
        signing.presign(request, key, REGION, NOW, seconds=seconds)


def test_printing_credentials_shows_no_secret() -> None:
    key = Credentials(access_key_id="AKID", secret_access_key="hunter2", session_token="hunter3")
    assert "hunter" not in f"{key} {key!r} {[key]}"
