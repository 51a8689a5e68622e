"""The examples of AWS's S3 documentation ("Signature Calculations for the Authorization Header" and "… Using Query
Parameters"), stage by stage, with the key that AWS publishes for them."""

import hashlib
from datetime import UTC, datetime

import pytest

from pinnace import signing
from pinnace.digests import EMPTY_SHA256
from pinnace.signing import Credentials, Request

CREDENTIALS = Credentials(
    access_key_id="AKIAIOSFODNN7EXAMPLE", secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)
HOST = "examplebucket.s3.amazonaws.com"
NOW = datetime(2013, 5, 24, tzinfo=UTC)
WELCOME_SHA256 = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()

GET_OBJECT = Request(
    method="GET",
    host=HOST,
    path=signing.encode_path("test.txt"),
    headers={"range": "bytes=0-9"},
    payload_sha256=EMPTY_SHA256,
)
PUT_OBJECT = Request(
    method="PUT",
    host=HOST,
    path=signing.encode_path("test$file.text"),
    headers={"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
    payload_sha256=WELCOME_SHA256,
)
GET_LIFECYCLE = Request(
    method="GET", host=HOST, path="/", query=signing.encode_query([("lifecycle", "")]), payload_sha256=EMPTY_SHA256
)
LIST_OBJECTS = Request(
    method="GET",
    host=HOST,
    path="/",
    query=signing.encode_query([("prefix", "J"), ("max-keys", "2")]),
    payload_sha256=EMPTY_SHA256,
)

EXAMPLES = {
    "get object": (
        GET_OBJECT,
        "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972",
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    "put object": (
        PUT_OBJECT,
        "9e0e90d9c76de8fa5b200d8c849cd5b8dc7a3be3951ddb7f6a76b4158342019d",
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    "get bucket lifecycle": (
        GET_LIFECYCLE,
        "9766c798316ff2757b517bc739a67f6213b4ab36dd5da2f94eaebf79c77395ca",
        "host;x-amz-content-sha256;x-amz-date",
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    "list objects": (
        LIST_OBJECTS,
        "df57d21db20da04d7fa30298dd4488ba3a2b47ca3a489c74750e0f1e7df1b9b7",
        "host;x-amz-content-sha256;x-amz-date",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
}


def published_headers(request: Request) -> dict[str, str]:
    return {
        **request.headers,
        "host": HOST,
        "x-amz-content-sha256": request.payload_sha256,
        "x-amz-date": "20130524T000000Z",
    }


def test_the_canonical_request_of_a_get_is_the_published_text() -> None:
    assert signing.canonical_request(GET_OBJECT, published_headers(GET_OBJECT)) == (
        "GET\n"
        "/test.txt\n"
        "\n"
        "host:examplebucket.s3.amazonaws.com\n"
        "range:bytes=0-9\n"
        "x-amz-content-sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
        "x-amz-date:20130524T000000Z\n"
        "\n"
        "host;range;x-amz-content-sha256;x-amz-date\n"
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )


def test_the_canonical_request_of_a_put_is_the_published_text() -> None:
    assert signing.canonical_request(PUT_OBJECT, published_headers(PUT_OBJECT)) == (
        "PUT\n"
        "/test%24file.text\n"
        "\n"
        "date:Fri, 24 May 2013 00:00:00 GMT\n"
        "host:examplebucket.s3.amazonaws.com\n"
        "x-amz-content-sha256:44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072\n"
        "x-amz-date:20130524T000000Z\n"
        "x-amz-storage-class:REDUCED_REDUNDANCY\n"
        "\n"
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class\n"
        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
    )


def test_query_parameters_are_sorted_and_a_bare_one_gets_an_equals_sign() -> None:
    assert GET_LIFECYCLE.query == "lifecycle="
    assert LIST_OBJECTS.query == "max-keys=2&prefix=J"


@pytest.mark.parametrize(("request_", "canonical_sha256", "names", "signature"), EXAMPLES.values(), ids=EXAMPLES)
def test_failure_24_each_stage_gives_the_published_value(
    request_: Request, canonical_sha256: str, names: str, signature: str
) -> None:
    canonical = signing.canonical_request(request_, published_headers(request_))
    text = signing.string_to_sign(canonical, "us-east-1", "20130524T000000Z")
    assert text == f"AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n{canonical_sha256}"
    assert signing.sign_string(CREDENTIALS, "us-east-1", "20130524T000000Z", text) == signature
    assert signing.sign(request_, CREDENTIALS, "us-east-1", NOW) == {
        **published_headers(request_),
        "authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders={names},Signature={signature}",
    }


def test_the_published_presigned_url_is_made() -> None:
    request = Request(method="GET", host=HOST, path=signing.encode_path("test.txt"), payload_sha256=EMPTY_SHA256)
    assert signing.presign(request, CREDENTIALS, "us-east-1", NOW, seconds=86400) == (
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
