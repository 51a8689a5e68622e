"""`pinnace models`: the model registry on the command line.

A model is called PROJECT/MODEL, one of its versions PROJECT/MODEL@WHICH: a number, an alias, a stage in small letters,
or `newest`, which may be left out with the `@`.
"""

from pathlib import Path, PurePosixPath
from typing import Final
from uuid import UUID, uuid4

import click

from pinnace.cli.exits import NothingFound
from pinnace.cli.groups import listing
from pinnace.cli.options import json_option, limit_option, project_option, shown_option, through_api_option, with_client
from pinnace.cli.output import Column, assignments, bytes_in_words, escaped, moment, one_more, print_json, show
from pinnace.cli.references import find_iteration
from pinnace.cli.sources import Sources
from pinnace.client import Client
from pinnace.records import (
    Artifact,
    Iteration,
    Model,
    ModelStage,
    ModelVersion,
    ModelVersionWrite,
    Shown,
)
from pinnace.stores.retrieval import LocalFileError

_STAGES: Final = {stage.value.lower(): stage for stage in ModelStage}
_NEWEST: Final = "newest"
_MODEL: Final = "PROJECT/MODEL"
_VERSION: Final = "PROJECT/MODEL[@WHICH]"


@click.command
@with_client
@project_option
@shown_option
@json_option
@limit_option
def models(client: Client, *, project: str | None, shown: Shown, as_json: bool, limit: int) -> None:
    """List models by project and name."""
    columns: tuple[Column[Model], ...] = (
        Column("NAME", lambda row: f"{row.project}/{row.name}"),
        Column("LAST", lambda row: str(row.last_number or "")),
        Column("PRODUCTION", lambda row: str(row.production or "")),
        Column("ALIASES", lambda row: assignments(row.aliases)),
        Column("CREATED", lambda row: moment(row.created_at)),
        Column("DESCRIPTION", lambda row: row.description),
        Column("TAGS", lambda row: assignments(row.tags)),
        Column("BY", lambda row: row.created_by),
    )
    found = client.models(project=project, lifecycle=shown, limit=one_more(limit))
    show(found, columns, as_json=as_json, limit=limit)


@click.command("show")
@with_client
@click.argument("model", metavar=_MODEL)
@shown_option
@json_option
@limit_option
def show_model(client: Client, *, model: str, shown: Shown, as_json: bool, limit: int) -> None:
    """List the versions of a model, the highest number first."""
    columns: tuple[Column[ModelVersion], ...] = (
        Column("NUMBER", lambda row: str(row.number)),
        Column("STAGE", lambda row: row.stage.value),
        Column("ALIASES", lambda row: " ".join(row.aliases)),
        Column("CREATED", lambda row: moment(row.created_at)),
        Column("BY", lambda row: row.created_by),
        Column("ITERATION", lambda row: str(row.iteration_id)),
        Column("ARTIFACT", lambda row: str(row.artifact_id or "")),
        Column("DESCRIPTION", lambda row: row.description),
        Column("TAGS", lambda row: assignments(row.tags)),
        Column("ID", lambda row: str(row.id)),
    )
    project, name = _named(model)
    found = client.model_versions(project, name, lifecycle=shown, limit=one_more(limit))
    show(found, columns, as_json=as_json, limit=limit)


@click.command
@with_client
@click.argument("model", metavar=_MODEL)
@click.argument("iteration")
@click.option("--artifact", metavar="PATH", help="What the iteration wrote: a path (its newest content) or an id.")
@click.option(
    "--stage", type=click.Choice(list(_STAGES)), default="none", show_default=True, help="Where it is to stand."
)
@click.option("--description", default="", help="A few words about it.")
@json_option
def register(
    client: Client, *, model: str, iteration: str, artifact: str | None, stage: str, description: str, as_json: bool
) -> None:
    """Register what ITERATION (an id or NAME/INDEX) made as the next version of a model.

    The artifact of a set of files is their pinnace-manifest.json.
    """
    project, name = _named(model)
    made_by = find_iteration(client, iteration)
    write = ModelVersionWrite(
        project=project,
        model=name,
        iteration_id=made_by.id,
        artifact_id=None if artifact is None else _artifact(client, made_by, artifact),
        stage=_STAGES[stage],
        description=description,
    )
    _say(client.put_model_version(uuid4(), write), as_json=as_json)


@click.command
@with_client
@click.argument("version", metavar=_VERSION)
@click.option(
    "--to", "stage", type=click.Choice(list(_STAGES)), default="production", show_default=True, help="The stage."
)
@click.option("--comment", default="", help="Why; it is kept with the change.")
@json_option
def promote(client: Client, *, version: str, stage: str, comment: str, as_json: bool) -> None:
    """Move a version to a stage. What was in production before is archived at once."""
    _say(client.set_model_stage(_version(client, version).id, _STAGES[stage], comment=comment), as_json=as_json)


@click.command
@with_client
@click.argument("version", metavar=_VERSION)
@click.argument("alias")
@click.option("--expected", type=click.IntRange(min=0), help="Only if it stands for this number now; 0: for none.")
@json_option
def alias(client: Client, *, version: str, alias: str, expected: int | None, as_json: bool) -> None:
    """Let ALIAS stand for a version, and for no other one any more."""
    found = _version(client, version)
    if expected is None:
        client.set_model_alias(found.project, found.model, alias, found.number)
    else:
        client.set_model_alias(found.project, found.model, alias, found.number, expected=expected or None)
    _say(client.model_version_by_id(found.id), as_json=as_json)


@click.command
@with_client
@click.argument("model", metavar=_MODEL)
@click.argument("alias")
def unalias(client: Client, *, model: str, alias: str) -> None:
    """Take ALIAS away."""
    project, name = _named(model)
    client.delete_model_alias(project, name, alias)


@click.command("download")
@with_client
@click.argument("version", metavar=_VERSION)
@click.option(
    "-o",
    "--output",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where to put its files; made if it isn't there. Default: here.",
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option("--endpoint", metavar="URL", help="Where the store is reached from here, as for `pinnace get`.")
@through_api_option
@json_option
def download_model(
    client: Client,
    *,
    version: str,
    output: Path,
    force: bool,
    endpoint: str | None,
    through_api: bool,
    as_json: bool,
) -> None:
    """Download the file of a version, or all the files of its set, each compared with its recorded SHA-256.

    Files of a set keep their paths in its folder.
    """
    chosen = _version(client, version)
    with Sources(client, endpoint=endpoint, through_api=through_api) as sources:
        for artifact, name in _files(client, chosen):
            target = output.joinpath(*_safe(name).parts)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise LocalFileError(f"{escaped(str(target.parent))} can't be made: {error.strerror}") from error
            sources.retrieve(artifact, target, replace=force)
            if as_json:
                print_json(
                    {"artifact": artifact.id, "file": str(target), "size": artifact.size, "sha256": artifact.sha256}
                )
            else:
                click.echo(f"{escaped(str(target))}: {bytes_in_words(artifact.size)}, SHA-256 {artifact.sha256}")


def _named(reference: str) -> tuple[str, str]:
    project, slash, name = reference.partition("/")
    if not (project and slash and name):
        raise click.BadParameter(f"{reference!r} is no {_MODEL}", param_hint=_MODEL)
    return project, name


def _version(client: Client, reference: str) -> ModelVersion:
    """Raises NotFound."""
    model, _, which = reference.partition("@")
    project, name = _named(model)
    if which in ("", _NEWEST):
        return client.model_version(project, name)
    if which.isascii() and which.isdecimal():
        return client.model_version(project, name, number=int(which))
    if which in _STAGES:
        return client.model_version(project, name, stage=which)
    return client.model_version(project, name, alias=which)


def _artifact(client: Client, iteration: Iteration, reference: str) -> UUID:
    """By id, or the newest content of a path."""
    try:
        return UUID(reference)
    except ValueError:
        pass
    for artifact in client.artifact_versions(iteration.id, reference, newest=True, limit=1):
        return artifact.id
    raise NothingFound(
        f"iteration {iteration.id} wrote no {escaped(reference)}", hint="`pinnace artifacts` lists what it wrote"
    )


def _files(client: Client, version: ModelVersion) -> list[tuple[Artifact, str]]:
    """What belongs to a version, and how each file is called in the folder of all."""
    if version.artifact_id is None:
        raise NothingFound(f"version {version.number} has no artifact", hint="attach one, or register another version")
    artifact = client.artifact(version.artifact_id)
    folder, _, name = artifact.path.rpartition("/")
    members = list(client.artifact_set_members(artifact.id))
    inside = f"{folder}/" if folder else ""
    return [(each, each.path.removeprefix(inside)) for each in members] or [(artifact, name)]


def _safe(name: str) -> PurePosixPath:
    """The name as a path that stays in its folder, whatever the API said."""
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or not name.isprintable():
        raise LocalFileError(f"no file here can be called {escaped(name)}", hint="`pinnace get` downloads it by its id")
    return path


def _say(version: ModelVersion, *, as_json: bool) -> None:
    if as_json:
        print_json(version)
        return
    called = f"  ({', '.join(version.aliases)})" if version.aliases else ""
    click.echo(f"{version.project}/{version.model}@{version.number}  {version.stage.value}{called}  {version.id}")


GROUP: Final = listing(models, "models", "The model registry.")
for _command in (show_model, register, promote, alias, unalias, download_model):
    GROUP.add_command(_command)
