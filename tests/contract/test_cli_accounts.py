"""`pinnace login` and the commands for accounts, against a real API."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pinnace.cli import main
from pinnace.records import UserWrite
from support.accounts import PASSWORD
from support.api_server import ApiServer, api_server

NEW = "another correct battery staple"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("api")) as server, server.admin() as admin:
        admin.put_user("ada", UserWrite(password=PASSWORD, admin=True))
        yield server


class Terminal:
    """One person's, with a home of its own."""

    def __init__(self, api: ApiServer, home: Path) -> None:
        self.file = home / "pinnace" / "credentials.json"
        self._environ = {"PINNACE_API_URL": api.url, "XDG_CONFIG_HOME": str(home)}

    def run(self, *arguments: str, typed: str = "", code: int = 0) -> str:
        result: Result = CliRunner(env=self._environ).invoke(main, list(arguments), input=typed)
        assert result.exit_code == code, result.output
        assert PASSWORD not in result.output
        return result.output


@pytest.fixture
def ada(api: ApiServer, tmp_path: Path) -> Terminal:
    terminal = Terminal(api, tmp_path)
    terminal.run("login", "ada", typed=f"{PASSWORD}\n")
    return terminal


def test_a_login_is_kept_where_only_its_owner_can_read_it(ada: Terminal) -> None:
    assert stat.S_IMODE(ada.file.stat().st_mode) == 0o600
    assert '"name":"ada"' in ada.run("whoami")
    secret = ada.file.read_text()
    ada.run("logout")
    assert "pnc_" not in ada.file.read_text()
    ada.run("whoami", code=4)
    ada.file.write_text(secret)
    assert "401" in ada.run("whoami", code=4)  # ended, not only forgotten


def test_a_file_that_others_can_read_is_not_used(ada: Terminal) -> None:
    ada.file.chmod(0o644)
    assert "chmod 600" in ada.run("whoami", code=1)


def test_a_wrong_password_leaves_nothing(api: ApiServer, tmp_path: Path) -> None:
    terminal = Terminal(api, tmp_path)
    assert "name or the password is wrong" in terminal.run("login", "ada", typed="wrong\n", code=4)
    assert not terminal.file.exists()


def test_a_personal_token_is_shown_once_and_works_until_it_is_revoked(
    api: ApiServer, ada: Terminal, tmp_path: Path
) -> None:
    secret = ada.run("tokens", "create", "ci", "--scope", "write", "--days", "2").strip()
    listed = ada.run("tokens", "list")
    assert secret not in listed
    token_id = next(line.split("\t")[-1] for line in listed.splitlines() if line.startswith("ci\t"))
    program = Terminal(api, tmp_path / "program")
    program.run("login", "--token", typed=f"{secret}\n")
    assert '"scope":"write"' in program.run("whoami")
    ada.run("tokens", "revoke", token_id)
    program.run("whoami", code=4)


def test_users_and_members_from_the_command_line(api: ApiServer, ada: Terminal, tmp_path: Path) -> None:
    ada.run("users", "create", "bob", "--group", "makers", typed=f"{PASSWORD}\n{PASSWORD}\n")
    with api.admin() as admin:
        admin.put_project("iris")
    ada.run("members", "set", "iris", "user", "bob", "viewer")
    ada.run("members", "set", "iris", "group", "makers", "editor")
    assert "group\tmakers\teditor\nuser\tbob\tviewer\n" in ada.run("members", "list", "iris")
    bob = Terminal(api, tmp_path / "bob")
    bob.run("login", "bob", typed=f"{PASSWORD}\n")
    assert '"projects":{"iris":"editor"}' in bob.run("whoami")
    bob.run("users", "password", "bob", typed=f"{PASSWORD}\n{NEW}\n{NEW}\n")
    bob.run("whoami", code=4)
    ada.run("members", "remove", "iris", "group", "makers")
    ada.run("users", "disable", "bob")
    bob.run("login", "bob", typed=f"{NEW}\n", code=4)
    assert "bob\t\t\tyes\tmakers" in ada.run("users", "list")
    ada.run("users", "remove", "bob")
    assert "bob" not in ada.run("users", "list")
