"""`pinnace sync`: what runs have said offline, or while the API was away, to the API."""

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from pinnace.cli.exits import Exit
from pinnace.cli.options import json_option, with_client
from pinnace.cli.output import bytes_in_words, escaped, print_json
from pinnace.client import Client
from pinnace.tracking.errors import SpoolError
from pinnace.tracking.settings import spool_folder, tracking_settings
from pinnace.tracking.spool import spools
from pinnace.tracking.syncing import Outcome, Synced
from pinnace.tracking.syncing import sync as sync_spool


@click.command
@with_client
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--remove", is_flag=True, help="Delete what the API has taken as a whole.")
@click.option(
    "--patience",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="Give up when nothing has worked for so long.",
)
@json_option
@click.pass_context
def sync(
    ctx: click.Context, client: Client, *, folder: Path | None, remove: bool, patience: float, as_json: bool
) -> None:
    """Deliver what lies in DIR: one run's folder, or one with many. Default: where runs that could not deliver all of
    it left it (PINNACE_SPOOL_DIR, else pinnace/spool below ~/.local/state).

    It may be broken off and run again at any time; what was delivered is not delivered twice. Folders of runs that are
    still going on are passed over.
    """
    where = folder or spool_folder(tracking_settings())
    outcomes: list[Outcome] = []
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bars:
        for spool in spools(where) if folder or where.is_dir() else ():
            bar = bars.add_task(escaped(spool.name), total=None)

            def progress(done: int, total: int, bar: TaskID = bar) -> None:
                bars.update(bar, completed=done, total=total)

            try:
                synced = sync_spool(client, spool, patience=patience, progress=progress, remove=remove)
            except SpoolError as error:
                if spool == where:
                    raise
                synced = Synced(folder=str(spool), outcome=Outcome.UNREADABLE, reason=str(error))
            bars.remove_task(bar)
            outcomes.append(synced.outcome)
            if as_json:
                print_json(synced)
            else:
                click.echo(_sentence(synced))
    if not outcomes and not as_json:
        click.echo(f"nothing lies in {escaped(str(where))}")
    if any(outcome is not Outcome.DELIVERED for outcome in outcomes):
        ctx.exit(Exit.UNFINISHED)


def _sentence(synced: Synced) -> str:
    where = escaped(synced.folder)
    match synced.outcome:
        case Outcome.DELIVERED:
            return f"{synced.iteration_id}: delivered"
        case Outcome.REFUSED:
            why = escaped(synced.refused[0])
            return (
                f"{synced.iteration_id}: delivered but for {len(synced.refused)} that the API refuses, for instance: "
                f"{why} (all are in {where}/refused.jsonl)"
            )
        case Outcome.LEFT:
            left = bytes_in_words(synced.left_bytes)
            return f"{synced.iteration_id}: {left} of events are left: {escaped(synced.reason)}"
        case Outcome.BUSY | Outcome.UNREADABLE:
            return f"{where}: passed over: {escaped(synced.reason)}"
