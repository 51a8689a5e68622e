"""What somebody may is remembered for a moment, and never for longer than it is so: each way in which it can end."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from uuid import UUID, uuid4

import msgspec
import pytest

from pinnace.client import Client, Forbidden, NotFound, Unauthorized
from pinnace.records import (
    ExperimentWrite,
    IterationWrite,
    Member,
    MemberKind,
    MetricPoint,
    PasswordWrite,
    ProjectRole,
    Scope,
    TokenWrite,
    UserPatch,
    UserWrite,
)
from pinnace.settings import ClientSettings
from pinnace_api.recollection import SECONDS
from support.accounts import PASSWORD
from support.api_process import api_processes
from support.api_server import ApiServer
from support.eventually import eventually
from support.postgres_server import PostgresServer

#: What a look-up and an answer may take on a busy machine, beside what is promised.
SLACK = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """An editor of a project of their own, by way of a group, with a session and a personal token."""

    name: str
    group: str
    project: str
    token: UUID
    session: str
    secret: str
    iteration: UUID


def person(admin: Client, api_url: str) -> Person:
    word = uuid4().hex[:8]
    name, group, project = f"user-{word}", f"group-{word}", f"project-{word}"
    admin.put_project(project)
    admin.put_user(name, UserWrite(password=PASSWORD, groups=(group,)))
    admin.put_member(project, Member(kind=MemberKind.GROUP, name=group, role=ProjectRole.EDITOR))
    session, token, experiment, iteration = admin.log_in(name, PASSWORD).token, uuid4(), uuid4(), uuid4()
    with Client(ClientSettings(api_url=api_url, api_token=session)) as own:
        secret = own.put_token(token, TokenWrite(name="program", scope=Scope.WRITE)).token
        own.put_experiment(experiment, ExperimentWrite(project=project, name="e"))
        own.put_iteration(iteration, IterationWrite(experiment_id=experiment))
    return Person(
        name=name, group=group, project=project, token=token, session=session, secret=secret, iteration=iteration
    )


def write(client: Client, who: Person) -> None:
    client.put_metrics(who.iteration, [MetricPoint(key="loss", step=0, value=1.0)])


def is_refused(client: Client, who: Person) -> bool:
    try:
        write(client, who)
    except Unauthorized:
        return True
    return False


@pytest.fixture
def who(client: Client, api: ApiServer) -> Person:
    return person(client, api.url)


@pytest.fixture
def program(api: ApiServer, who: Person) -> Iterator[Client]:
    """With the person's token, which the API has just seen."""
    with api.client(who.secret) as program:
        write(program, who)
        write(program, who)
        yield program


END: dict[str, tuple[Callable[[Client, Client, Person], object], type[Exception]]] = {
    "the token is deleted": (lambda _, own, who: own.delete_token(who.token), Unauthorized),
    "the user is disabled": (
        lambda admin, _, who: admin.patch_user(who.name, UserPatch(disabled=True)),
        Unauthorized,
    ),
    "the user is removed": (lambda admin, _, who: admin.delete_user(who.name), Unauthorized),
    "the password changes": (
        lambda admin, _, who: admin.set_password(
            who.name, PasswordWrite(new="another correct battery staple", revoke_tokens=True)
        ),
        Unauthorized,
    ),
    "the group is no member any more": (
        lambda admin, _, who: admin.delete_member(who.project, MemberKind.GROUP, who.group),
        NotFound,
    ),
    "the group's role is less": (
        lambda admin, _, who: admin.put_member(
            who.project, Member(kind=MemberKind.GROUP, name=who.group, role=ProjectRole.VIEWER)
        ),
        Forbidden,
    ),
    "the user leaves the group": (
        lambda admin, _, who: admin.patch_user(who.name, UserPatch(groups=())),
        NotFound,
    ),
}


@pytest.mark.parametrize("how", END)
def test_the_very_next_request_is_refused(
    api: ApiServer, client: Client, program: Client, who: Person, how: str
) -> None:
    end, refusal = END[how]
    with api.client(who.session) as own:
        own.whoami()
        end(client, own, who)
    with pytest.raises(refusal):
        write(program, who)


def test_the_very_next_request_may_more_when_the_role_is_more(client: Client, program: Client, who: Person) -> None:
    viewer = Member(kind=MemberKind.GROUP, name=who.group, role=ProjectRole.VIEWER)
    client.put_member(who.project, viewer)
    with pytest.raises(Forbidden):
        write(program, who)
    client.put_member(who.project, msgspec.structs.replace(viewer, role=ProjectRole.EDITOR))
    write(program, who)


def test_no_request_that_begins_after_the_end_is_let_in(api: ApiServer, client: Client, who: Person) -> None:
    """Many ask all the time, so that some are being looked up while it ends."""
    ended, over = Event(), Event()

    def ask(_: int) -> list[str]:
        late: list[str] = []
        with api.client(who.secret) as program:
            while not over.is_set():
                after = ended.is_set()
                try:
                    write(program, who)
                except Unauthorized:
                    return late
                if after:
                    late.append("let in")
        return late

    with ThreadPoolExecutor(6) as threads:
        asking = [threads.submit(ask, number) for number in range(6)]
        try:
            with api.client(who.session) as own:
                own.delete_token(who.token)
            ended.set()
            assert [each.result(60) for each in asking] == [[]] * 6
        finally:
            over.set()
    assert client.user(who.name).name == who.name


def test_another_replica_knows_within_a_second(postgres: PostgresServer, tmp_path: Path) -> None:
    with api_processes(tmp_path, postgres.create_database(), 2) as (here, there), here.admin() as admin:
        who = person(admin, here.url)

        with (
            Client(ClientSettings(api_url=there.url, api_token=who.secret)) as elsewhere,
            Client(ClientSettings(api_url=here.url, api_token=who.session)) as own,
        ):
            write(elsewhere, who)
            own.delete_token(who.token)
            eventually(lambda: is_refused(elsewhere, who), timeout=SECONDS + SLACK)
