"""Requests to a running API as its OpenAPI document allows them, or nearly so; the answers are to be as it says."""

import random
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import schemathesis
import urllib3
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
#: They end the token that is used, so they come last.
_ENDS_THE_TOKEN = ("delete_token", "put_password", "log_out", "log_out_everywhere")


class Document:
    """The document that an API serves, and things which are there for its paths to name."""

    def __init__(self, url: str, known: Mapping[str, str]) -> None:
        answer = urllib3.request("GET", f"{url}/openapi.json", retries=False)
        self._url = url
        self._known = known
        self._schema = schemathesis.openapi.from_dict(answer.json())

    def operations(self) -> Iterator[Any]:
        """In the order of the document, but for those that end a token."""
        found = []
        for result in self._schema.get_all_operations():
            assert isinstance(result, Ok), result
            found.append(result.ok())
        return iter(sorted(found, key=lambda each: _operation_id(each) in _ENDS_THE_TOKEN))

    def address(self, operation: Any) -> str:
        """Of what is there, as far as it is known."""
        return self._url + str(operation.path).format_map(_Filled(self._known))

    def ask(self, operation: Any, token: str, *, examples: int, number: int) -> tuple[int, str]:
        """Ask that often; the same `number` asks the same.

        Returns how many were let in, and what is wrong with an answer that is not as the document says.
        """
        let_in = 0
        drawn = random.Random(f"{number} {_operation_id(operation)}")

        @seed(number)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def answers_as_documented(case: Any) -> None:
            nonlocal let_in
            if drawn.random() < 0.7:  # otherwise hardly any would find something
                case.path_parameters |= {
                    name: value for name, value in self._known.items() if name in case.path_parameters
                }
            headers = {"authorization": f"Bearer {token}"} if token else {}
            answer = case.call(base_url=self._url, headers=headers, allow_redirects=False)
            let_in += answer.status_code not in (401, 403)
            case.validate_response(answer, checks=list(CHECKS))

        try:
            answers_as_documented()
        except FailureGroup as group:
            return let_in, "\n".join(f"{operation.label}: {failure}" for failure in group.exceptions)
        return let_in, ""


class _Filled(dict[str, str]):
    """What has no value is a word or an id that is not there."""

    def __missing__(self, name: str) -> str:
        return str(UUID(int=0))


def is_public(operation: Any) -> bool:
    """Whether the document says that it needs no token."""
    return {} in operation.definition.raw.get("security", ())


def _operation_id(operation: Any) -> str:
    return str(operation.definition.raw["operationId"])
