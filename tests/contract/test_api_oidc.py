"""Logging in at an identity provider: a real one, and one that forges."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
import urllib3

from pinnace.client import Forbidden, Unauthorized
from pinnace.records import Member, MemberKind, ProjectRole, UserPatch, UserWrite
from pinnace_api.oidc.service import s256
from support.accounts import PASSWORD
from support.api_server import ApiServer
from support.identity_provider import Browser, ForgingProvider, real_provider

CLIENT, SECRET = "pinnace", "client-secret-of-the-tests"
USER, USER_PASSWORD = "test-user@localhost", "verysecure"
LOGIN = "/api/v1/oidc/login"


def serve(folder: Path, issuer: str, **settings: Any) -> ApiServer:
    secret = folder / "client-secret"
    secret.write_text(SECRET)
    api = ApiServer(folder)
    oidc = {"oidc_issuer": issuer, "oidc_client_id": CLIENT, "oidc_client_secret_file": str(secret)}
    api.settings = msgspec.structs.replace(api.settings, public_url=api.url, **oidc, **settings)
    return api


@pytest.fixture(scope="module")
def provided(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ApiServer, str]]:
    """An API and the real provider that it sends browsers to."""
    folder = tmp_path_factory.mktemp("oidc")
    api = ApiServer(folder)
    redirect = f"{api.url}/api/v1/oidc/callback"
    with real_provider(folder, client=CLIENT, secret=SECRET, redirect=redirect) as issuer:
        secret = folder / "client-secret"
        secret.write_text(SECRET)
        api.settings = msgspec.structs.replace(
            api.settings,
            public_url=api.url,
            oidc_issuer=issuer,
            oidc_client_id=CLIENT,
            oidc_client_secret_file=str(secret),
            oidc_allowed_groups=("researchers",),
        )
        api.start()
        try:
            yield api, issuer
        finally:
            api.stop()


def cookie_of(api: ApiServer, browser: Browser) -> str:
    return browser.cookies[urlsplit(api.url).netloc].get("pinnace_session", "")


class TestRealProvider:
    def test_a_first_login_makes_a_user_with_the_provider_s_groups(self, provided: tuple[ApiServer, str]) -> None:
        api, issuer = provided
        browser = Browser()
        end = browser.log_in(
            f"{api.url}{LOGIN}?return_to=/runs", user=USER, password=USER_PASSWORD, until=f"{api.url}/runs"
        )
        assert end == f"{api.url}/runs"
        with api.client(cookie_of(api, browser)) as client:
            me = client.whoami()
        assert me.user is not None
        assert (me.user.issuer, me.user.admin) == (issuer, False)
        assert me.user.groups == ("oidc:admin", "oidc:researchers")
        with api.admin() as admin:
            assert [one.action for one in admin.audit(actor=f"user:{me.user.name}")] == ["login.succeeded"]

    def test_a_second_login_is_the_same_user_also_after_the_keys_were_changed(
        self, provided: tuple[ApiServer, str]
    ) -> None:
        api, issuer = provided
        urllib3.request("POST", f"{issuer}/rotate")
        before = {one.id for one in self.users(api)}
        browser = Browser()
        # The keys are fetched anew only when they are half a minute old: a restart forgets them.
        api.stop()
        api.start()
        browser.log_in(f"{api.url}{LOGIN}?return_to=/runs", user=USER, password=USER_PASSWORD, until=f"{api.url}/runs")
        assert {one.id for one in self.users(api)} == before | {one.id for one in self.users(api) if one.issuer}
        assert len([one for one in self.users(api) if one.issuer]) == 1

    def test_a_user_of_no_allowed_group_stays_outside(self, provided: tuple[ApiServer, str]) -> None:
        api, _ = provided
        browser = Browser()
        back = browser.log_in(
            f"{api.url}{LOGIN}", user="test-user2", password=USER_PASSWORD, until=f"{api.url}/api/v1/oidc/callback"
        )
        assert browser.get(back).status == 403
        assert not cookie_of(api, browser)

    def test_a_program_gets_its_session_once_and_only_with_its_verifier(self, provided: tuple[ApiServer, str]) -> None:
        api, _ = provided
        verifier = secrets.token_urlsafe(48)
        login = f"{api.url}{LOGIN}?port=1&challenge={s256(verifier)}"
        for given, fits in (("x" * 64, False), (verifier, True)):  # a wrong one spoils the code
            end = Browser().log_in(login, user=USER, password=USER_PASSWORD, until="http://127.0.0.1:1/")
            code = parse_qs(urlsplit(end).query)["code"][0]
            with api.client("") as client:
                if fits:
                    grant = client.exchange(code, given)
                    with api.client(grant.token) as mine:
                        assert mine.whoami().user is not None
                else:
                    with pytest.raises(Unauthorized):
                        client.exchange(code, given)
                with pytest.raises(Unauthorized):
                    client.exchange(code, verifier)

    def test_a_callback_works_once_and_in_the_browser_that_began(self, provided: tuple[ApiServer, str]) -> None:
        api, _ = provided
        callback = f"{api.url}/api/v1/oidc/callback"
        mine, other = Browser(), Browser()
        back = mine.log_in(f"{api.url}{LOGIN}", user=USER, password=USER_PASSWORD, until=callback)
        assert mine.get(back).status == 303
        assert mine.get(back).status == 401
        back = mine.log_in(f"{api.url}{LOGIN}", user=USER, password=USER_PASSWORD, until=callback)
        other.get(f"{api.url}{LOGIN}")
        assert other.get(back).status == 401
        assert not cookie_of(api, other)

    @pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example", "runs", "/a\\b"])
    def test_the_way_back_is_a_path_of_ours(self, provided: tuple[ApiServer, str], path: str) -> None:
        answer = Browser().get(f"{provided[0].url}{LOGIN}?return_to={path}")
        assert answer.status == 422

    def users(self, api: ApiServer) -> list[Any]:
        with api.admin() as admin:
            return list(admin.users())


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ApiServer, ForgingProvider]]:
    provider = ForgingProvider(CLIENT)
    settings = {"oidc_allowed_domains": ("*",), "oidc_admin_groups": ("chiefs",)}
    api = serve(tmp_path_factory.mktemp("forged"), provider.issuer, **settings)
    api.start()
    yield api, provider
    api.stop()
    provider.close()


def come_back(api: ApiServer, provider: ForgingProvider) -> tuple[int, Browser]:
    """A login whose provider says what it was told to; the callback's status."""
    browser = Browser()
    sent = parse_qs(urlsplit(browser.get(f"{api.url}{LOGIN}").headers["location"]).query)
    if "nonce" not in provider.changes:
        provider.nonce = sent["nonce"][0]
    provider.challenge = sent["code_challenge"][0]
    assert sent["code_challenge_method"] == ["S256"]
    return browser.get(f"{api.url}/api/v1/oidc/callback?code=c&state={sent['state'][0]}").status, browser


class TestForgedTokens:
    @pytest.mark.parametrize(
        ("signing", "changes"),
        [
            ("none", {}),
            ("HS256", {}),
            ("another key", {}),
            ("not.a.token", {}),
            ("RS256", {"exp": 1}),
            ("RS256", {"exp": None}),
            ("RS256", {"iss": "http://127.0.0.1:1"}),
            ("RS256", {"aud": "another-program"}),
            ("RS256", {"aud": [CLIENT, "another-program"], "azp": "another-program"}),
            ("RS256", {"nonce": "of-another-login"}),
            ("RS256", {"nonce": None}),
            ("RS256", {"sub": None}),
            ("RS256", {"sub": 7}),
        ],
    )
    def test_is_nobody_s(
        self, forged: tuple[ApiServer, ForgingProvider], signing: str, changes: dict[str, Any]
    ) -> None:
        api, provider = forged
        provider.signing, provider.changes = signing, changes
        try:
            status, browser = come_back(api, provider)
        finally:
            provider.signing, provider.changes = "RS256", {}
        assert status == 401
        assert not cookie_of(api, browser)
        assert come_back(api, provider)[0] == 303  # it was that change, and nothing else

    def test_wrong_signatures_do_not_make_us_ask_for_keys_again_and_again(
        self, forged: tuple[ApiServer, ForgingProvider]
    ) -> None:
        api, provider = forged
        come_back(api, provider)
        before = provider.key_requests
        provider.signing = "another key"
        try:
            assert [come_back(api, provider)[0] for _ in range(5)] == [401] * 5
        finally:
            provider.signing = "RS256"
        assert provider.key_requests <= before + 1

    def test_a_name_like_a_local_user_s_is_not_that_user(self, forged: tuple[ApiServer, ForgingProvider]) -> None:
        api, provider = forged
        with api.admin() as admin:
            admin.put_user("root", UserWrite(password=PASSWORD, admin=True))
            provider.changes = {"sub": "imitator", "preferred_username": "root", "email": "root"}
            try:
                status, browser = come_back(api, provider)
            finally:
                provider.changes = {}
            assert status == 303
        with api.client(cookie_of(api, browser)) as client:
            me = client.whoami()
            assert me.role == "user"
            assert me.user is not None
            assert me.user.name.startswith("root-")
            with pytest.raises(Forbidden):
                client.put_user("helper", UserWrite(password=PASSWORD))

    def test_a_group_called_like_one_of_ours_has_none_of_its_roles(
        self, forged: tuple[ApiServer, ForgingProvider]
    ) -> None:
        api, provider = forged
        with api.admin() as admin:
            admin.put_project("secret")
            admin.put_member("secret", Member(kind=MemberKind.GROUP, name="owners", role=ProjectRole.ADMIN))
            provider.changes = {"sub": "climber", "groups": ["owners", "oidc:owners", "admin"]}
            try:
                _, browser = come_back(api, provider)
            finally:
                provider.changes = {}
            with api.client(cookie_of(api, browser)) as client:
                assert client.whoami().projects == {}
                assert list(client.projects()) == []
            admin.put_member("secret", Member(kind=MemberKind.GROUP, name="oidc:owners", role=ProjectRole.VIEWER))
            with api.client(cookie_of(api, browser)) as client:
                assert client.whoami().projects == {"secret": ProjectRole.VIEWER}

    def test_the_provider_s_admins_are_admins_as_long_as_it_says_so(
        self, forged: tuple[ApiServer, ForgingProvider]
    ) -> None:
        api, provider = forged
        for groups, role in ((["chiefs"], "admin"), ([], "user")):
            provider.changes = {"sub": "chief", "preferred_username": "chief", "groups": groups}
            try:
                _, browser = come_back(api, provider)
            finally:
                provider.changes = {}
            with api.client(cookie_of(api, browser)) as client:
                assert client.whoami().role == role

    def test_a_disabled_user_does_not_come_back_by_the_provider(
        self, forged: tuple[ApiServer, ForgingProvider]
    ) -> None:
        api, provider = forged
        provider.changes = {"sub": "leaver", "preferred_username": "leaver"}
        try:
            assert come_back(api, provider)[0] == 303
            with api.admin() as admin:
                admin.patch_user("leaver", UserPatch(disabled=True))
            assert come_back(api, provider)[0] == 401
        finally:
            provider.changes = {}
