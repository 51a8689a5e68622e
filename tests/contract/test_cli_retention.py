"""`pinnace retention` and `pinnace holds` against the real API."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from pinnace.cli import main
from pinnace.cli.exits import Exit
from pinnace.client import Client
from pinnace.records import ExperimentWrite
from support.api_server import ADMIN_TOKEN, api_server
from support.environment import without_settings


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    with api_server(tmp_path) as api, api.admin() as client:
        without_settings(monkeypatch)
        monkeypatch.setenv("PINNACE_API_URL", api.url)
        monkeypatch.setenv("PINNACE_API_TOKEN", ADMIN_TOKEN)
        monkeypatch.setenv("PINNACE_API_DATABASE_URL", api.settings.database_url)
        yield client


def run(*arguments: str, ends: int = Exit.OK) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == ends, result.output
    return result


def test_policies_are_set_listed_and_taken_away(client: Client) -> None:
    client.put_project("iris")
    run("retention", "set", "trash", "--target", "trash", "--older-than-days", "30")
    ranked = ("--keep", "3", "--keep-by", "metrics.a.max desc")
    run("retention", "set", "old", "--project", "iris", "--target", "artifacts", *ranked)
    wrong = run("retention", "set", "x", "--target", "artifacts", "--keep", "1", "--filter", "a =", ends=Exit.API)
    assert "iterations have no 'a'" in wrong.output
    listed = [json.loads(line) for line in run("retention", "list", "--project", "iris", "--json").output.splitlines()]
    assert [(each["project"], each["name"], each["keep"]) for each in listed] == [
        (None, "trash", None),
        ("iris", "old", 3),
    ]
    assert "30" in run("retention").output
    by_stage = ("--stage", "archived", "--stage", "NONE", "--older-than-days", "1")
    run("retention", "set", "models", "--project", "iris", "--target", "versions", *by_stage)
    assert "ARCHIVED, NONE" in run("retention", "list", "--project", "iris").output
    production = ("--target", "versions", "--stage", "production", "--keep", "1")
    assert "PRODUCTION never goes" in run("retention", "set", "x", *production, ends=Exit.API).output
    run("retention", "remove", "old", "--project", "iris")
    run("retention", "remove", "old", "--project", "iris", ends=Exit.NOT_FOUND)


def test_apply_is_answered_by_the_api_s_own_package(client: Client) -> None:
    client.put_project("iris")
    run("retention", "set", "trash", "--target", "trash", "--older-than-days", "30")
    command = [sys.executable, "-m", "pinnace", "retention", "apply", "--dry-run", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["complete"] is outcome["dry_run"] is True
    assert [(each["project"], each["policy"]) for each in outcome["policies"]] == [("iris", "trash")]


def test_holds_are_set_listed_and_lifted(client: Client) -> None:
    experiment = uuid4()
    client.put_experiment(experiment, ExperimentWrite(project="iris", name="sweep"))
    whole = json.loads(run("holds", "set", "iris", "project", "--reason", "all", "--json").output)
    run("holds", "set", "iris", "experiment", str(experiment), "--reason", "case 7")
    assert "case 7" in run("holds", "iris").output
    run("holds", "lift", "iris", whole["id"], "--reason", "settled")
    assert whole["id"] not in run("holds", "iris").output
    assert whole["id"] in run("holds", "iris", "--lifted").output
