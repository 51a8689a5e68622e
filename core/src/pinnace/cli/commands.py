"""`pinnace` and its commands."""

from importlib.metadata import version

import click

from pinnace.cli.accounts import COMMANDS as ACCOUNTS
from pinnace.cli.compare import compare
from pinnace.cli.database import db
from pinnace.cli.download import get
from pinnace.cli.edits import add_edits, edit_experiment, edit_iteration, edit_project
from pinnace.cli.exits import explanation
from pinnace.cli.exports import export
from pinnace.cli.groups import Commands, listing
from pinnace.cli.imports import import_
from pinnace.cli.kubectl import kubectl
from pinnace.cli.listings import artifacts, experiments, iterations, metrics, projects
from pinnace.cli.local import server, watch
from pinnace.cli.models import GROUP as MODELS
from pinnace.cli.reproduce import reproduce
from pinnace.cli.retention import HOLDS, RETENTION
from pinnace.cli.sidecar import sidecar
from pinnace.cli.sync import sync
from pinnace.cli.upkeep import gc, migrate_artifacts, verify


@click.group(cls=Commands, epilog=explanation(), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("pinnace"))
def main() -> None:
    """Look at experiments and their artifacts, put them away or mark them, and download what they left.

    The API is found by --api-url and --token-file, or PINNACE_API_URL and PINNACE_API_TOKEN (or …_TOKEN_FILE), or
    `pinnace login` keeps a session. An experiment is called by its id or its name, an iteration by its id or as
    NAME/INDEX.
    """


for list_, name, edit, metavar, help_ in (
    (projects, "projects", edit_project, "PROJECT", "Projects (by name)."),
    (experiments, "experiments", edit_experiment, "EXPERIMENT", "Experiments (by id or name)."),
    (iterations, "iterations", edit_iteration, "ITERATION", "Iterations (by id or as NAME/INDEX)."),
):
    group = listing(list_, name, help_)
    add_edits(group, edit, metavar)
    main.add_command(group)
_READING = (artifacts, metrics, compare, get)
_RUNS = (reproduce, sync)
_TABLES = (export, import_)
_LOCAL = (server, watch, sidecar)
_UPKEEP = (db, migrate_artifacts, gc, verify, RETENTION, HOLDS)
for command in (*_READING, *_RUNS, kubectl, MODELS, *_TABLES, *_LOCAL, *_UPKEEP, *ACCOUNTS):
    main.add_command(command)
