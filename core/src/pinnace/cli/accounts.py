"""The commands for logging in, and for users, tokens and members."""

from typing import TextIO
from uuid import UUID, uuid4

import click

from pinnace.cli import browser_login
from pinnace.cli.options import json_option, limit_option, with_client
from pinnace.cli.output import Column, moment, one_more, print_json, show
from pinnace.client import Client, credentials
from pinnace.client.settings import client_settings
from pinnace.records import (
    AccessToken,
    Member,
    MemberKind,
    PasswordWrite,
    ProjectRole,
    Scope,
    SetupWrite,
    TokenWrite,
    User,
    UserPatch,
    UserWrite,
)

_api_url = click.option("--api-url", metavar="URL", help="The API. Default: PINNACE_API_URL.")
_password = click.password_option(help="Asked for when it is not given.")
_KIND = click.Choice([kind.value for kind in MemberKind])
_ROLE = click.Choice([role.value for role in ProjectRole])
_SCOPE = click.Choice([scope.value for scope in Scope])


@click.command
@_api_url
@click.argument("name", required=False)
@click.option("--token", "by_token", is_flag=True, help="Keep a personal token, which is asked for.")
@click.option("--browser", is_flag=True, help="Log in at the API's identity provider.")
def login(api_url: str | None, name: str | None, *, by_token: bool, browser: bool) -> None:
    """Log in as NAME, and keep the session in a file that only you can read."""
    settings = client_settings(api_url=api_url, token_file=None, known=False)
    if by_token:
        secret = click.prompt("Token", hide_input=True)
        with Client(client_settings(api_url=api_url, token_file=None, token=secret)) as client:
            me = client.whoami()
        who = me.user.name if me.user else me.role
    else:
        with Client(settings) as client:
            if browser:
                grant = browser_login.log_in(
                    client, settings.api_url, show=lambda url: click.echo(f"Open {url}", err=True)
                )
            else:
                name = name or click.prompt("Name")
                grant = client.log_in(name, click.prompt("Password", hide_input=True))
        secret, who = grant.token, grant.user.name
    credentials.remember(settings.api_url, secret)
    click.echo(f"logged in as {who}")


@click.command
@with_client
@click.option("--everywhere", is_flag=True, help="End all of your sessions, not only this one.")
def logout(client: Client, *, everywhere: bool) -> None:
    """End the session, and forget it here."""
    client.log_out(everywhere=everywhere)
    credentials.forget(client.api_url)


@click.command
@with_client
def whoami(client: Client) -> None:
    """Who the API takes you for, and what you may."""
    print_json(client.whoami())


@click.group
def tokens() -> None:
    """Personal tokens, for programs."""


@tokens.command("create")
@with_client
@click.argument("name")
@click.option("--scope", type=_SCOPE, default="read", show_default=True)
@click.option("--days", type=click.IntRange(1, 366), default=90, show_default=True, help="Until it expires.")
def create_token(client: Client, name: str, *, scope: str, days: int) -> None:
    """Make a token called NAME and print it, this once."""
    write = TokenWrite(name=name, scope=Scope(scope), expires_in_days=days)
    click.echo(client.put_token(uuid4(), write).token)


@tokens.command("list")
@with_client
@click.option("--user", help="Another's, for admins.")
@json_option
@limit_option
def list_tokens(client: Client, *, user: str | None, as_json: bool, limit: int) -> None:
    """List your sessions and tokens, without their secrets."""
    columns: tuple[Column[AccessToken], ...] = (
        Column("NAME", lambda row: "session" if row.session else row.name),
        Column("SCOPE", lambda row: row.scope.value),
        Column("EXPIRES", lambda row: moment(row.expires_at)),
        Column("USED", lambda row: moment(row.last_used_at)),
        Column("ID", lambda row: str(row.id)),
    )
    show(client.tokens(user=user, limit=one_more(limit)), columns, as_json=as_json, limit=limit)


@tokens.command("revoke")
@with_client
@click.argument("token_id", type=click.UUID)
def revoke_token(client: Client, token_id: UUID) -> None:
    """End the token or session with this id."""
    client.delete_token(token_id)


@click.group
def users() -> None:
    """Users, for admins; and your own password."""


@users.command("first-admin")
@_api_url
@click.argument("name")
@click.option("--setup-token-file", metavar="FILE", type=click.File(), help="The file that `pinnace server` names.")
@_password
def first_admin(api_url: str | None, name: str, setup_token_file: TextIO | None, password: str) -> None:
    """Make NAME the first admin, with the token that the API gave out when it first started."""
    settings = client_settings(api_url=api_url, token_file=None, known=False)
    secret = setup_token_file.read().strip() if setup_token_file else click.prompt("Setup token", hide_input=True)
    with Client(settings) as client:
        grant = client.set_up(SetupWrite(token=secret, name=name, password=password))
    credentials.remember(settings.api_url, grant.token)
    click.echo(f"logged in as {grant.user.name}")


@users.command("create")
@with_client
@click.argument("name")
@click.option("--admin", is_flag=True)
@click.option("--display-name", default="")
@click.option("--group", "groups", multiple=True, help="May be given several times.")
@_password
def create_user(
    client: Client, name: str, *, admin: bool, display_name: str, groups: tuple[str, ...], password: str
) -> None:
    """Create the user NAME."""
    client.put_user(name, UserWrite(password=password, admin=admin, display_name=display_name, groups=groups))


@users.command("list")
@with_client
@json_option
@limit_option
def list_users(client: Client, *, as_json: bool, limit: int) -> None:
    """List the users."""
    columns: tuple[Column[User], ...] = (
        Column("NAME", lambda row: row.name),
        Column("DISPLAY NAME", lambda row: row.display_name),
        Column("ADMIN", lambda row: "yes" if row.admin else ""),
        Column("DISABLED", lambda row: "yes" if row.disabled else ""),
        Column("GROUPS", lambda row: " ".join(row.groups)),
        Column("CREATED", lambda row: moment(row.created_at)),
    )
    show(client.users(limit=one_more(limit)), columns, as_json=as_json, limit=limit)


@users.command("disable")
@with_client
@click.argument("name")
def disable_user(client: Client, name: str) -> None:
    """Let NAME in no more; ends every session and token."""
    client.patch_user(name, UserPatch(disabled=True))


@users.command("enable")
@with_client
@click.argument("name")
def enable_user(client: Client, name: str) -> None:
    """Let NAME in again."""
    client.patch_user(name, UserPatch(disabled=False))


@users.command("remove")
@with_client
@click.argument("name")
def remove_user(client: Client, name: str) -> None:
    """Remove NAME; what NAME recorded stays."""
    client.delete_user(name)


@users.command("password")
@with_client
@click.argument("name")
@click.option("--revoke-tokens", is_flag=True, help="End personal tokens as well.")
def change_password(client: Client, name: str, *, revoke_tokens: bool) -> None:
    """Change the password of NAME: yours, or another's as an admin. Ends all sessions."""
    me = client.whoami().user
    current = click.prompt("Current password", hide_input=True) if me is not None and me.name == name else ""
    new = click.prompt("New password", hide_input=True, confirmation_prompt=True)
    client.set_password(name, PasswordWrite(new=new, current=current, revoke_tokens=revoke_tokens))


@click.group
def members() -> None:
    """Who is what to a project."""


@members.command("list")
@with_client
@click.argument("project")
@json_option
@limit_option
def list_members(client: Client, project: str, *, as_json: bool, limit: int) -> None:
    """List the members of PROJECT."""
    columns: tuple[Column[Member], ...] = (
        Column("KIND", lambda row: row.kind.value),
        Column("NAME", lambda row: row.name),
        Column("ROLE", lambda row: row.role.value),
    )
    show(client.members(project, limit=one_more(limit)), columns, as_json=as_json, limit=limit)


@members.command("set")
@with_client
@click.argument("project")
@click.argument("kind", type=_KIND)
@click.argument("name")
@click.argument("role", type=_ROLE)
def set_member(client: Client, project: str, kind: str, name: str, role: str) -> None:
    """Give the user or group NAME a role in PROJECT."""
    client.put_member(project, Member(kind=MemberKind(kind), name=name, role=ProjectRole(role)))


@members.command("remove")
@with_client
@click.argument("project")
@click.argument("kind", type=_KIND)
@click.argument("name")
def remove_member(client: Client, project: str, kind: str, name: str) -> None:
    """Take the role of the user or group NAME in PROJECT away."""
    client.delete_member(project, MemberKind(kind), name)


COMMANDS = (login, logout, whoami, tokens, users, members)
