"""Whole projects between an API and a folder, and from other trackers."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from pinnace.cli.exits import Exit
from pinnace.cli.options import json_option, with_client
from pinnace.cli.output import bytes_in_words, escaped, print_json
from pinnace.client import Client
from pinnace.porting.exporting import export_project
from pinnace.porting.folder import ExportFolder
from pinnace.porting.imported import Imported, Step
from pinnace.porting.importing import import_project
from pinnace.porting.mlflow import FileStore
from pinnace.porting.source import Problems, Source
from pinnace.stores.retrieval import LocalFileError

_FolderType = click.Path(path_type=Path, file_okay=False)
_dry_run_option = click.option("--dry-run", is_flag=True, help="Read everything, and change nothing.")


@click.command("project")
@with_client
@click.argument("project")
@click.argument("folder", metavar="DIR", type=_FolderType)
@json_option
@click.pass_context
def export_command(ctx: click.Context, client: Client, *, project: str, folder: Path, as_json: bool) -> None:
    """Write all of PROJECT into DIR: JSON lines for each kind of thing, and the bytes of its artifacts.

    What lies in the trash stays behind. One that was broken off is simply run again: bytes that are there are not
    fetched twice. Exits 8 when something could not be written, which is said.
    """
    problems = _problems(as_json=as_json)
    with _bar(None) as progress, _files():
        exported = export_project(client, project, folder, problems, progress)
    if as_json:
        print_json(exported)
    else:
        click.echo(
            f"{escaped(project)} is in {escaped(str(folder))}: {exported.experiments} experiments, "
            f"{exported.iterations} iterations, {exported.points} points, {exported.artifacts} artifacts "
            f"({bytes_in_words(exported.bytes)}; {exported.present} were there)"
        )
    _end(ctx, problems)


@click.command("project")
@with_client
@click.argument("folder", metavar="DIR", type=_FolderType)
@click.option("--as", "name", metavar="NAME", help="Call the project so.")
@_dry_run_option
@json_option
@click.pass_context
def import_command(
    ctx: click.Context, client: Client, *, folder: Path, name: str | None, dry_run: bool, as_json: bool
) -> None:
    """Bring the project that `pinnace export project` wrote into DIR into the API.

    Ids stay, and what is there already stays as it is, so it may be broken off and run again at any time. Exits 8 when
    something could not be taken; each such thing is named by its file and line, and everything else is taken.
    """
    problems = _problems(as_json=as_json)
    with _files(), ExportFolder(folder, problems, name=name) as source:
        _bring(ctx, client, source, problems, dry_run=dry_run, as_json=as_json)


@click.command("mlflow")
@with_client
@click.argument("folder", metavar="DIR", type=_FolderType)
@click.option("--project", required=True, metavar="NAME", help="The project to bring it into.")
@click.option("--texts", is_flag=True, help="Leave parameters texts that read as numbers, True or False.")
@_dry_run_option
@json_option
@click.pass_context
def import_mlflow(
    ctx: click.Context, client: Client, *, folder: Path, project: str, texts: bool, dry_run: bool, as_json: bool
) -> None:
    """Bring a file store of MLflow (its `mlruns` folder) into the API: experiments, runs, artifacts, models.

    It may be broken off and run again at any time, also to fetch what has come meanwhile. What was deleted stays
    behind. Exits as `pinnace import project` does. Needs `pip install 'pinnace[mlflow]'`.
    """
    problems = _problems(as_json=as_json)
    with _files(), FileStore(folder, problems, project=project, texts=texts) as source:
        _bring(ctx, client, source, problems, dry_run=dry_run, as_json=as_json)


def _bring(
    ctx: click.Context, client: Client, source: Source, problems: Problems, *, dry_run: bool, as_json: bool
) -> None:
    with _bar(source.totals().iterations) as progress:
        imported = import_project(client, source, problems, dry_run=dry_run, progress=progress)
    if as_json:
        print_json(imported)
    else:
        click.echo(_sentence(imported))
    _end(ctx, problems)


def _sentence(imported: Imported) -> str:
    begin = "would bring" if imported.dry_run else "brought"
    news = (
        f"{imported.experiments} experiments, {imported.iterations} iterations, {imported.points} points, "
        f"{imported.artifacts} artifacts ({bytes_in_words(imported.bytes)}), {imported.datasets} datasets, "
        f"{imported.versions} versions of models"
    )
    more = {
        "iterations were there": imported.present,
        "have another number here": imported.renumbered,
        "deleted ones were left out": imported.left_out,
    }
    others = "".join(f"; {number} {what}" for what, number in more.items() if number)
    return f"{begin} to {escaped(imported.project)}: {news}{others}"


def _problems(*, as_json: bool) -> Problems:
    def tell(place: str, reason: str) -> None:
        if as_json:
            print_json({"place": place, "problem": reason})
        else:
            click.echo(f"{escaped(place)}: {escaped(reason)}", err=True)

    return Problems(tell)


def _end(ctx: click.Context, problems: Problems) -> None:
    if problems.count:
        ctx.exit(Exit.UNFINISHED)


@contextmanager
def _bar(iterations: int | None) -> Iterator[Callable[[Step], None]]:
    columns = TextColumn("{task.completed:.0f} iterations, {task.fields[size]}"), BarColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bars:
        bar = bars.add_task("", total=iterations, size="")

        def progress(step: Step) -> None:
            bars.update(bar, completed=step.iterations, size=bytes_in_words(step.bytes))

        yield progress


@contextmanager
def _files() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LocalFileError(f"{error.filename or 'a file'}: {error.strerror or error}") from error
