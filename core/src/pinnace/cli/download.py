"""`pinnace get`: an artifact's bytes to a file, compared with what was recorded."""

import sys
from pathlib import Path, PurePosixPath
from uuid import UUID

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from pinnace.cli.options import json_option, through_api_option, with_client
from pinnace.cli.output import bytes_in_words, escaped, print_json
from pinnace.cli.sources import Sources
from pinnace.client import Client
from pinnace.records import Artifact


@click.command
@with_client
@click.argument("artifact", type=click.UUID)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where to put it: a file or a folder. Default: its own name, here.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option(
    "--endpoint",
    metavar="URL",
    help="Where the store is reached from here. Default: PINNACE_STORE_ENDPOINT, else as it was recorded.",
)
@through_api_option
@json_option
def get(
    client: Client,
    *,
    artifact: UUID,
    output: Path | None,
    force: bool,
    endpoint: str | None,
    through_api: bool,
    as_json: bool,
) -> None:
    """Download ARTIFACT (its id) and compare it with the recorded SHA-256.

    FILE appears whole and right or not at all; what lies compressed in the store is unpacked. The store's credentials
    are those of the environment: AWS_ACCESS_KEY_ID and so on, AWS_PROFILE, PINNACE_STORE_CREDENTIALS_DIR, or the
    workload's identity. Where there are none, and for what lies in no store, the bytes come from the API.
    """
    row = client.artifact(artifact)
    target = _target(output or Path(), row)
    with (
        Sources(client, endpoint=endpoint, through_api=through_api) as sources,
        _progress(row, quiet=as_json) as progress,
    ):
        task = progress.add_task(escaped(target.name), total=row.size)
        sources.retrieve(row, target, replace=force, advanced=lambda count: progress.advance(task, count))
    if as_json:
        print_json({"artifact": row.id, "file": str(target), "size": row.size, "sha256": row.sha256})
    else:
        click.echo(f"{escaped(str(target))}: {bytes_in_words(row.size)}, SHA-256 {row.sha256} as recorded")


def _target(output: Path, artifact: Artifact) -> Path:
    if not output.is_dir():
        return output
    name = PurePosixPath(artifact.path).name
    return output / (name if name.isprintable() and name not in ("", "..") else str(artifact.id))


def _progress(artifact: Artifact, *, quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    is_silent = quiet or artifact.size == 0 or not sys.stderr.isatty()
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=is_silent)
