"""Credentials that the API gives for a while: asked for in time, and not more often than that helps."""

from datetime import UTC, datetime, timedelta

import pytest

from pinnace.client import ApiError, NotFound, Unreachable
from pinnace.records import StoreCredentials
from pinnace.stores.store import CredentialsMissing
from pinnace_sidecar.vended import VendedCredentials

START = datetime(2026, 1, 1, tzinfo=UTC)


class Given:
    """An API with a clock; `refusal` is what it says instead."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.refusal: ApiError | None = None
        self.source = VendedCredentials(self.ask, monotonic=lambda: self.now)

    def ask(self) -> StoreCredentials:
        self.asked += 1
        if self.refusal is not None:
            raise self.refusal
        return StoreCredentials(
            access_key_id=f"key-{self.asked}",
            secret_access_key="secret",
            session_token="session",
            expires_at=START + timedelta(seconds=self.now + 900),
            expires_in_seconds=900,
        )

    def key(self) -> str:
        return self.source.current().access_key_id


@pytest.fixture
def given() -> Given:
    return Given()


def test_they_are_asked_for_once_until_a_third_of_their_life_is_left(given: Given) -> None:
    assert given.source.expires_at() is None
    assert {given.key() for _ in range(10)} == {"key-1"}
    given.now = 599
    assert given.key() == "key-1"
    given.now = 601
    assert given.key() == "key-2"
    assert given.source.expires_at() == START + timedelta(seconds=601 + 900)


def test_those_at_hand_serve_to_their_end_while_the_api_is_away(given: Given) -> None:
    given.key()
    given.refusal = Unreachable("no answer")
    given.now = 700
    assert given.key() == "key-1"
    given.now = 899
    assert given.key() == "key-1"
    given.now = 905
    with pytest.raises(CredentialsMissing, match="no answer"):
        given.key()
    given.refusal, given.now = None, 911
    assert given.key().startswith("key-")


def test_a_refusal_is_told_with_its_mend_and_not_asked_for_again_at_once(given: Given) -> None:
    given.refusal = NotFound("404", detail="there is no ArtifactStore", hint="the administrator offers one")
    for _ in range(5):
        with pytest.raises(CredentialsMissing, match="there is no ArtifactStore") as caught:
            given.key()
    assert caught.value.hint == "the administrator offers one"
    assert given.asked == 1
    given.now = 6
    given.refusal = None
    assert given.key() == "key-2"


def test_what_the_store_refuses_is_replaced_but_not_again_and_again(given: Given) -> None:
    given.key()
    given.source.forget()
    assert given.key() == "key-1", "given just now: another would be refused just the same"
    given.now = 60
    given.source.forget()
    assert given.key() == "key-2"
    given.source.forget()
    assert given.key() == "key-2"
    assert given.asked == 2


def test_printing_them_shows_no_secret(given: Given) -> None:
    assert "secret" not in repr(given.ask()).replace("secret_access_key", "")
    assert "session" not in repr(given.ask()).replace("session_token", "")
