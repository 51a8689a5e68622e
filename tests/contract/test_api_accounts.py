"""Users, sessions, tokens and roles, and what attackers try with them.

Tests named after DD-n, CH-n or F-n show that a known failure of an earlier tracker is none here.
"""

import sqlite3
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
import sqlalchemy
import urllib3
from sqlalchemy import text

from pinnace import ids
from pinnace.client import Client, Conflict, Forbidden, Invalid, NotFound, Unauthorized, Unavailable
from pinnace.records import (
    ExperimentWrite,
    IterationWrite,
    Member,
    MemberKind,
    MetricPoint,
    PasswordWrite,
    ProjectRole,
    Scope,
    SessionGrant,
    SetupWrite,
    TokenWrite,
    UserPatch,
    UserWrite,
)
from pinnace.settings import ClientSettings
from pinnace_api import credentials
from pinnace_api.database import Connection, Database
from pinnace_api.sessions.throttle import FREE_BY_NAME
from support.accounts import PASSWORD, Accounts
from support.api_server import ADMIN_TOKEN, ApiServer, api_server

POOL = urllib3.PoolManager(retries=False)
NEW = "another correct battery staple"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("api"), database_url=database_url) as server:
        yield server
    POOL.clear()


@pytest.fixture
def accounts(api: ApiServer) -> Iterator[Accounts]:
    accounts = Accounts(api)
    yield accounts
    accounts.close()


@pytest.fixture
def admin(api: ApiServer) -> Iterator[Client]:
    with api.admin() as client:
        yield client


@pytest.fixture
def user(admin: Client) -> str:
    """The name of a new user."""
    name = f"user-{uuid4().hex[:8]}"
    admin.put_user(name, UserWrite(password=PASSWORD))
    return name


def send(api: ApiServer, method: str, path: str, body: object = None, **headers: str) -> urllib3.BaseHTTPResponse:
    content = None if body is None else msgspec.json.encode(body)
    return POOL.request(method, f"{api.url}/api/v1{path}", body=content, headers=headers)


def log_in(api: ApiServer, name: str, password: str = PASSWORD) -> urllib3.BaseHTTPResponse:
    return send(api, "POST", "/session", {"name": name, "password": password})


class TestLogin:
    def test_a_login_is_a_session_until_it_is_ended(self, api: ApiServer, user: str) -> None:
        with api.client("") as nobody:
            grant = nobody.log_in(user, PASSWORD)
        with api.client(grant.token) as mine:
            me = mine.whoami()
            assert me.user is not None
            assert (me.role, me.user.name, me.scope, me.csrf) == ("user", user, Scope.ADMIN, "")
            mine.log_out()
            with pytest.raises(Unauthorized):
                mine.whoami()

    def test_logging_out_everywhere_ends_all_sessions_and_no_personal_token(
        self, api: ApiServer, accounts: Accounts, user: str
    ) -> None:
        sessions = [accounts.session(user) for _ in range(3)]
        personal = accounts.personal(user, Scope.READ)
        with api.client(sessions[0].secret) as client:
            client.log_out(everywhere=True)
        assert [send(api, "GET", "/session", authorization=f"Bearer {one.secret}").status for one in sessions] == [
            401
        ] * 3
        assert send(api, "GET", "/session", authorization=f"Bearer {personal.secret}").status == 200

    def test_DD_31_every_wrong_login_is_the_same_401(self, api: ApiServer, admin: Client, user: str) -> None:
        gone = f"gone-{user}"
        admin.put_user(gone, UserWrite(password=PASSWORD))
        admin.patch_user(gone, UserPatch(disabled=True))
        answers = [log_in(api, user, "wrong"), log_in(api, f"no-{user}", "wrong"), log_in(api, gone), log_in(api, "")]
        assert {answer.status for answer in answers} == {401}
        told = [answer.json() for answer in answers]
        assert len({each.pop("request_id") for each in told}) == len(told)
        assert all(each == told[0] for each in told)

    def test_DD_31_a_wrong_name_takes_as_long_as_a_wrong_password(self, user: str) -> None:
        passwords = credentials.Passwords()
        stored = passwords.hashed(PASSWORD, name=user)
        taken: dict[str, list[float]] = {stored: [], "": []}
        for _ in range(15):
            for hashed, times in taken.items():
                begun = time.process_time()
                assert not passwords.verify(hashed, "wrong")
                times.append(time.process_time() - begun)
        known, unknown = (statistics.median(times) for times in taken.values())
        assert 0.5 < known / unknown < 2

    def test_DD_31_guessing_is_slowed_down_whether_or_not_there_is_such_a_user(self, api: ApiServer, user: str) -> None:
        for name in (user, f"no-{user}"):
            statuses = [log_in(api, name, "wrong").status for _ in range(FREE_BY_NAME)]
            assert statuses == [401] * FREE_BY_NAME
            blocked = log_in(api, name)
            assert (blocked.status, int(blocked.headers["retry-after"])) == (429, 2)
        with api.client("") as client, pytest.raises(Unavailable) as caught:
            client.log_in(user, PASSWORD)
        assert caught.value.code == "too-many-attempts"

    def test_guesses_at_the_same_moment_do_not_slip_through(self, api: ApiServer, user: str) -> None:
        with ThreadPoolExecutor(12) as threads:
            statuses = list(threads.map(lambda _: log_in(api, user, "wrong").status, range(24)))
        assert statuses.count(401) <= FREE_BY_NAME
        assert set(statuses) <= {401, 429}

    def test_DD_31_short_and_plain_passwords_are_refused(self, admin: Client) -> None:
        for password in ("", "short", "aaaaaaaaaaaaaaaa", "abababababababab", " " * 20, "weak-password-user"):
            with pytest.raises(Invalid) as caught:
                admin.put_user("weak-password-user", UserWrite(password=password))
            assert caught.value.field == "password"

    def test_DD_30_nobody_is_built_in(self, tmp_path: Path) -> None:
        with api_server(tmp_path, admin_token_file="") as api:
            for name in ("default", "admin", "root"):
                for password in ("default", "admin", "root", ""):
                    assert log_in(api, name, password).status in (401, 429)

    def test_a_password_change_ends_sessions_and_needs_the_current_one(
        self, api: ApiServer, accounts: Accounts, user: str
    ) -> None:
        stolen, personal = accounts.session(user), accounts.personal(user, Scope.READ)
        with accounts.client(user) as mine:
            with pytest.raises(Unauthorized):
                mine.set_password(user, PasswordWrite(new=NEW, current="guess"))
            mine.set_password(user, PasswordWrite(new=NEW, current=PASSWORD))
        assert send(api, "GET", "/session", authorization=f"Bearer {stolen.secret}").status == 401
        assert send(api, "GET", "/session", authorization=f"Bearer {personal.secret}").status == 200
        assert log_in(api, user).status == 401
        assert log_in(api, user, NEW).status == 201
        with accounts.client(user) as mine:
            mine.set_password(user, PasswordWrite(new=PASSWORD, current=NEW, revoke_tokens=True))
        assert send(api, "GET", "/session", authorization=f"Bearer {personal.secret}").status == 401


class TestFirstAdmin:
    def test_the_printed_token_makes_one_admin_once(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        with api_server(tmp_path, admin_token_file="") as api, api.client("") as client:
            token = capfd.readouterr().err.split("within a day:\n")[1].split()[0]
            write = SetupWrite(token=token, name="first", password=PASSWORD)
            with pytest.raises(Unauthorized):
                client.set_up(msgspec.structs.replace(write, token=credentials.new_token()))
            with ThreadPoolExecutor(4) as threads:
                names = ("first", "second", "third", "fourth")
                bodies = [msgspec.structs.replace(write, name=name) for name in names]
                statuses = list(threads.map(lambda body: send(api, "POST", "/setup", body).status, bodies))
            assert statuses.count(201) == 1
            assert set(statuses) - {201} <= {401, 429}  # the last to come may be one attempt too many
            with sqlite3.connect(api.database_file) as database:
                assert token not in "".join(database.iterdump())
            api.stop()
            api.start()
            assert "within a day" not in capfd.readouterr().err

    def test_with_an_admin_s_token_nothing_is_printed(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        with api_server(tmp_path):
            pass
        assert "pnc_" not in capfd.readouterr().err


class TestEscalation:
    def test_nobody_raises_himself(self, accounts: Accounts, user: str) -> None:
        with accounts.client(user) as mine:
            assert mine.patch_user(user, UserPatch(display_name="Me")).display_name == "Me"
            for patch in (UserPatch(admin=True), UserPatch(groups=("makers",)), UserPatch(disabled=False)):
                with pytest.raises(Forbidden):
                    mine.patch_user(user, patch)
            assert not mine.user(user).admin

    def test_users_do_not_see_each_other(self, api: ApiServer, admin: Client, accounts: Accounts, user: str) -> None:
        admin.put_user("somebody-else", UserWrite(password=PASSWORD))
        with accounts.client(user) as mine:
            answers = []
            for name in ("somebody-else", "nobody-at-all"):
                with pytest.raises(NotFound) as caught:
                    mine.user(name)
                answers.append(caught.value.detail.replace(name, "X"))
            assert len(set(answers)) == 1
            theirs = accounts.session("somebody-else")
            for token in (theirs.id, uuid4()):
                with pytest.raises(NotFound):
                    mine.delete_token(token)

    def test_the_last_admin_stays(self, tmp_path: Path) -> None:
        with api_server(tmp_path) as api, api.admin() as admin:
            for name in ("one", "two"):
                admin.put_user(name, UserWrite(password=PASSWORD, admin=True))
            admin.patch_user("one", UserPatch(admin=False))
            for last in (UserPatch(admin=False), UserPatch(disabled=True)):
                with pytest.raises(Conflict):
                    admin.patch_user("two", last)
            with pytest.raises(Conflict):
                admin.delete_user("two")
            admin.patch_user("one", UserPatch(admin=True))
            admin.delete_user("two")

    def test_two_admins_do_not_remove_each_other_at_the_same_moment(self, api: ApiServer, admin: Client) -> None:
        names = [f"chief-{uuid4().hex[:8]}" for _ in range(4)]
        assert not [other for other in admin.users() if other.admin]
        for name in names:
            admin.put_user(name, UserWrite(password=PASSWORD, admin=True))

        def demote(name: str) -> int:
            with api.admin() as mine:
                try:
                    mine.patch_user(name, UserPatch(admin=False))
                except Conflict:
                    return 409
                return 200

        with ThreadPoolExecutor(4) as threads:
            assert sorted(threads.map(demote, names)) == [200, 200, 200, 409]

    def test_a_token_makes_no_tokens_and_no_more_than_it_is(
        self, api: ApiServer, accounts: Accounts, user: str
    ) -> None:
        for scope in Scope:
            with api.client(accounts.personal(user, scope).secret) as token, pytest.raises(Forbidden):
                token.put_token(uuid4(), TokenWrite(name="more", scope=Scope.READ))
        with accounts.client(user) as mine:
            grant = mine.put_token(uuid4(), TokenWrite(name="ci", scope=Scope.WRITE, expires_in_days=1))
            assert [one.name for one in mine.tokens() if not one.session] == ["ci"] + ["minted"] * 3
            with pytest.raises(Conflict):
                mine.put_token(grant.record.id, TokenWrite(name="ci"))
            with api.client(grant.token) as token:
                assert token.whoami().scope is Scope.WRITE
                mine.delete_token(grant.record.id)
                with pytest.raises(Unauthorized):
                    token.whoami()

    def test_an_admin_of_one_project_is_nothing_to_another(self, admin: Client, accounts: Accounts, user: str) -> None:
        mine_, theirs = f"mine-{user}", f"theirs-{user}"
        admin.put_project(theirs)
        with accounts.client(user) as mine:
            mine.put_project(mine_)
            assert mine.whoami().projects == {mine_: ProjectRole.ADMIN}
            assert [one.name for one in mine.projects()] == [mine_]
            me = Member(kind=MemberKind.USER, name=user, role=ProjectRole.ADMIN)
            for call in (
                lambda: mine.put_member(theirs, me),
                lambda: mine.put_project(theirs),
                lambda: mine.put_experiment(uuid4(), ExperimentWrite(project=theirs, name="intruder")),
                lambda: mine.put_experiment(uuid4(), ExperimentWrite(project="not-there", name="intruder")),
            ):
                with pytest.raises(NotFound):
                    call()

    def test_what_a_body_names_is_checked_as_what_a_path_names(
        self, admin: Client, accounts: Accounts, user: str
    ) -> None:
        project, experiment = f"p-{user}", uuid4()
        admin.put_experiment(experiment, ExperimentWrite(project=project, name="sweep"))
        iteration = ids.iteration_id(experiment, 0)
        with accounts.client(user) as mine:
            with pytest.raises(NotFound) as caught:
                mine.put_iteration(iteration, IterationWrite(experiment_id=experiment, index=0))
            assert caught.value.code == "experiment-not-found"
            admin.put_member(project, Member(kind=MemberKind.USER, name=user, role=ProjectRole.VIEWER))
            with pytest.raises(Forbidden):
                mine.put_iteration(iteration, IterationWrite(experiment_id=experiment, index=0))
            admin.put_member(project, Member(kind=MemberKind.USER, name=user, role=ProjectRole.EDITOR))
            assert mine.put_iteration(iteration, IterationWrite(experiment_id=experiment, index=0)).index == 0
            admin.delete_member(project, MemberKind.USER, user)
            with pytest.raises(NotFound):
                mine.iteration(iteration)

    def test_F_20_DD_29_CH_16_anonymous_sees_nothing(self, api: ApiServer) -> None:
        document = msgspec.json.decode(POOL.request("GET", f"{api.url}/openapi.json").data)
        for path, operations in document["paths"].items():
            if not path.startswith("/api/v1") or "get" not in operations:
                continue
            if {} in operations["get"]["security"]:
                continue
            assert POOL.request("GET", api.url + path.replace("{", "").replace("}", "")).status in (401, 404), path


class TestTokens:
    def test_F_12_a_token_that_expires_mid_run_is_replaced_without_a_restart(
        self, api: ApiServer, admin: Client, accounts: Accounts, user: str, tmp_path: Path
    ) -> None:
        experiment = uuid4()
        iteration = ids.iteration_id(experiment, 0)
        admin.put_experiment(experiment, ExperimentWrite(project=f"p-{user}", name="long"))
        admin.put_iteration(iteration, IterationWrite(experiment_id=experiment, index=0))
        admin.put_member(f"p-{user}", Member(kind=MemberKind.USER, name=user, role=ProjectRole.EDITOR))
        file = tmp_path / "token"
        file.write_text(accounts.personal(user, Scope.WRITE, lifetime=timedelta(0)).secret)
        points = [MetricPoint(key="loss", step=0, value=1.0)]
        with Client(ClientSettings(api_url=api.url, api_token_file=str(file))) as running:
            with pytest.raises(Unauthorized):
                running.put_metrics(iteration, points)
            file.write_text(accounts.personal(user, Scope.WRITE).secret)
            assert running.put_metrics(iteration, points).added == 1

    def test_a_token_in_the_address_is_no_token(self, api: ApiServer, accounts: Accounts, user: str) -> None:
        secret = accounts.session(user).secret
        for field in ("access_token", "token", "authorization", "api_key"):
            assert send(api, "GET", f"/session?{field}={secret}").status == 401

    @pytest.mark.parametrize(
        "header",
        [
            "Bearer",
            "Bearer ",
            "bearer",
            "Basic dXNlcjpwYXNz",
            "Token x",
            "Bearer a b",
            "Bearer\ta",
            "\u00fc",
            "Bearer \u00fc",
            ",",
        ],
    )
    def test_F_27_DD_32_a_malformed_header_is_a_401(self, api: ApiServer, header: str) -> None:
        assert send(api, "GET", "/session", authorization=header).status == 401

    def test_DD_32_the_header_s_name_and_scheme_may_have_any_case(
        self, api: ApiServer, accounts: Accounts, user: str
    ) -> None:
        secret = accounts.session(user).secret
        assert send(api, "GET", "/session", AUTHORIZATION=f"bEaReR {secret}").status == 200

    def test_two_headers_are_refused_whichever_is_good(self, api: ApiServer) -> None:
        for values in ((f"Bearer {ADMIN_TOKEN}", "Bearer x"), ("Bearer x", f"Bearer {ADMIN_TOKEN}")):
            headers = urllib3.HTTPHeaderDict()
            for value in values:
                headers.add("authorization", value)
            assert POOL.request("GET", f"{api.url}/api/v1/session", headers=headers).status == 401

    def test_an_address_that_a_caller_claims_is_not_believed(self, api: ApiServer, admin: Client, user: str) -> None:
        send(api, "POST", "/session", {"name": user, "password": PASSWORD}, **{"x-forwarded-for": "203.0.113.9"})
        assert next(admin.audit(actor=f"user:{user}")).address == "127.0.0.1"

    def test_only_digests_are_stored(self, api: ApiServer, accounts: Accounts, user: str) -> None:
        minted = [accounts.session(user).secret, accounts.personal(user, Scope.READ).secret]
        database = Database(api.settings.database_url)
        with database.read() as connection:
            rows = [
                str(tuple(row))
                for table in ("tokens", "users")
                for row in connection.execute(text(f"SELECT * FROM {table}"))
            ]
        database.close()
        everything = "".join(rows)
        assert "$argon2id$" in everything
        assert PASSWORD not in everything
        assert not [secret for secret in minted if secret in everything]


class TestCookies:
    def cookie_login(self, api: ApiServer, user: str, **headers: str) -> tuple[urllib3.BaseHTTPResponse, str]:
        body = {"name": user, "password": PASSWORD, "cookie": True}
        answer = send(api, "POST", "/session", body, **headers)
        return answer, answer.headers.get("set-cookie", "").partition(";")[0]

    def test_a_cookie_is_out_of_reach_for_scripts_other_sites_and_http(self, api: ApiServer, user: str) -> None:
        answer, cookie = self.cookie_login(api, user)
        attributes = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
        assert {"httponly", "secure", "samesite=lax", "path=/"} <= attributes
        assert cookie.startswith("__Host-")
        grant = msgspec.json.decode(answer.data, type=SessionGrant)
        assert grant.token == ""
        assert cookie.partition("=")[2] not in answer.data.decode()

    def test_csrf_a_change_by_cookie_needs_the_header_and_a_page_of_ours(self, api: ApiServer, user: str) -> None:
        answer, cookie = self.cookie_login(api, user)
        csrf = msgspec.json.decode(answer.data, type=SessionGrant).csrf
        assert msgspec.json.decode(send(api, "GET", "/session", cookie=cookie).data)["csrf"] == csrf
        change = {"display_name": "changed"}
        for headers in (
            {},
            {"x-pinnace-csrf": "x"},
            {"x-pinnace-csrf": credentials.csrf(credentials.new_token())},
            {"x-pinnace-csrf": csrf, "origin": "https://evil.example"},
            {"x-pinnace-csrf": csrf, "origin": "null"},
        ):
            assert send(api, "PATCH", f"/users/{user}", change, cookie=cookie, **headers).status == 403
        good = {"x-pinnace-csrf": csrf, "origin": api.url}
        assert send(api, "PATCH", f"/users/{user}", change, cookie=cookie, **good).status == 200

    def test_csrf_another_site_logs_nobody_in(self, api: ApiServer, user: str) -> None:
        answer, cookie = self.cookie_login(api, user, origin="https://evil.example")
        assert (answer.status, cookie) == (403, "")

    def test_fixation_a_session_from_before_the_login_is_not_taken_over(
        self, api: ApiServer, accounts: Accounts, user: str
    ) -> None:
        name = "__Host-pinnace_session"
        planted = accounts.session(user).secret
        _, cookie = self.cookie_login(api, user, cookie=f"{name}={planted}")
        assert cookie != f"{name}={planted}"
        assert send(api, "GET", "/session", cookie=f"{name}={planted}").status == 401
        made_up = credentials.new_token()
        _, cookie = self.cookie_login(api, user, cookie=f"{name}={made_up}")
        assert made_up not in cookie
        assert send(api, "GET", "/session", cookie=f"{name}={made_up}").status == 401
        assert send(api, "GET", "/session", cookie=f"{cookie}; {name}={planted}").status == 401

    def test_no_other_site_s_page_may_read_anything(self, api: ApiServer) -> None:
        answer = send(api, "GET", "/session", authorization=f"Bearer {ADMIN_TOKEN}", origin="https://evil.example")
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
        for header, value in (
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
        ):
            assert answer.headers[header] == value
        assert "default-src 'none'" in answer.headers["content-security-policy"]

    def test_cors_is_for_the_origins_that_are_named_and_without_cookies(self, tmp_path: Path) -> None:
        ours = "https://notebook.example"
        with api_server(tmp_path, cors_origins=(ours,)) as api:
            asked = {"access-control-request-method": "GET", "access-control-request-headers": "authorization"}
            for origin, allowed in ((ours, ours), ("https://evil.example", None)):
                answer = send(api, "OPTIONS", "/projects", origin=origin, **asked)
                assert answer.headers.get("access-control-allow-origin") == allowed
                assert "access-control-allow-credentials" not in answer.headers


class TestAudit:
    def test_who_did_what_to_whom_and_nothing_secret(self, admin: Client, accounts: Accounts, user: str) -> None:
        with accounts.client(user) as mine:
            mine.put_project(f"p-{user}")
            grant = mine.put_token(uuid4(), TokenWrite(name="ci"))
            mine.delete_token(grant.record.id)
        events = list(admin.audit(actor=f"user:{user}"))
        assert [event.action for event in events] == ["token.ended", "token.created", "member.set"]
        assert {event.address for event in events} == {"127.0.0.1"}
        assert [event.subject for event in admin.audit(subject=f"user:{user}", action="user.created")] == [
            f"user:{user}"
        ]
        assert list(admin.audit(actor=f"user:{user}", until=events[-1].time)) == []
        assert len(list(admin.audit(actor=f"user:{user}", since=events[0].time))) == 1
        everything = msgspec.json.encode(list(admin.audit())).decode()
        assert PASSWORD not in everything
        assert "pnc_" not in everything

    def test_what_was_typed_as_a_name_is_not_kept_when_it_is_none(self, api: ApiServer, admin: Client) -> None:
        log_in(api, "my-password-typed-too-early")
        assert "my-password" not in msgspec.json.encode(list(admin.audit())).decode()

    def test_events_can_be_neither_changed_nor_deleted(self, api: ApiServer, user: str) -> None:
        database = Database(api.settings.database_url)
        for statement in ("UPDATE audit_events SET actor = 'me'", "DELETE FROM audit_events"):
            with pytest.raises(sqlalchemy.exc.DBAPIError, match="never changed"):
                database.write(Connection.execute, text(statement))
        database.close()
