"""The committed description is the API's own."""

import json
from pathlib import Path

import pytest

from pinnace_api import openapi
from pinnace_api.app import create_app
from pinnace_api.settings import ApiSettings
from support.api_server import FakeCluster

COMMITTED = Path(__file__).parents[3] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def text() -> str:
    return openapi.document(create_app(ApiSettings(), reviewer=FakeCluster()))


def test_the_committed_document_is_up_to_date(text: str) -> None:
    assert COMMITTED.read_text() == text, "run: make generate"


def test_every_operation_says_what_it_does_and_how_it_refuses(text: str) -> None:
    document = json.loads(text)
    assert document["openapi"].startswith("3.1")
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len(operations) == 116
    for operation in operations:
        assert operation["summary"]
        assert operation["tags"]
        assert "400" not in operation["responses"]
        if operation["security"] == [{"bearer": []}]:
            assert {"401", "403", "503"} <= set(operation["responses"])
        if "requestBody" in operation:
            assert {"413", "422"} <= set(operation["responses"])
        for status, response in operation["responses"].items():
            if status >= "400":
                assert "application/problem+json" in response["content"]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
