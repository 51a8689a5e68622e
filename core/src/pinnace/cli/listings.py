"""The commands that list what the API knows."""

import click

from pinnace.cli.columns import chosen
from pinnace.cli.options import json_option, limit_option, project_option, shown_option, with_client
from pinnace.cli.output import Column, assignments, bytes_in_words, moment, one_more, show
from pinnace.cli.references import find_either, find_iteration
from pinnace.cli.search import search, search_options
from pinnace.client import Client
from pinnace.records import Artifact, ArtifactSet, Experiment, Iteration, MetricPoint, Project, Shown


@click.command
@with_client
@shown_option
@json_option
@limit_option
def projects(client: Client, *, shown: Shown, as_json: bool, limit: int) -> None:
    """List the projects."""
    columns: tuple[Column[Project], ...] = (
        Column("NAME", lambda row: row.name),
        Column("CREATED", lambda row: moment(row.created_at)),
        Column("DESCRIPTION", lambda row: row.description),
        Column("TAGS", lambda row: assignments(row.tags)),
        Column("BY", lambda row: row.created_by),
    )
    show(client.projects(lifecycle=shown, limit=one_more(limit)), columns, as_json=as_json, limit=limit)


@click.command
@with_client
@project_option
@shown_option
@json_option
@limit_option
def experiments(client: Client, *, project: str | None, shown: Shown, as_json: bool, limit: int) -> None:
    """List experiments, the newest first."""
    columns: tuple[Column[Experiment], ...] = (
        Column("NAME", lambda row: row.name),
        Column("PROJECT", lambda row: row.project),
        Column("NAMESPACE", lambda row: row.namespace),
        Column("CREATED", lambda row: moment(row.created_at)),
        Column("ID", lambda row: str(row.id)),
        Column("DESCRIPTION", lambda row: row.description),
        Column("STATUS", lambda row: row.status.value),
        Column("TAGS", lambda row: assignments(row.tags)),
    )
    found = client.experiments(project=project, lifecycle=shown, limit=one_more(limit))
    show(found, columns, as_json=as_json, limit=limit)


@click.command
@with_client
@search_options
@click.option("--columns", metavar="FIELDS", help="Show these: 'name, params.lr, metrics.accuracy.last'.")
@shown_option
@json_option
@limit_option
def iterations(
    client: Client,
    *,
    experiment: str | None,
    project: str | None,
    where: str | None,
    sort: str | None,
    columns: str | None,
    shown: Shown,
    as_json: bool,
    limit: int,
) -> None:
    """List iterations: those of EXPERIMENT (an id or a name) by index, or all that match, the newest first.

    The first of `--sort 'metrics.accuracy.max desc'` is the best one, `--filter 'created_by = me'` lists your own.
    """
    found = search(
        client, experiment=experiment, project=project, where=where, sort=sort, shown=shown, limit=one_more(limit)
    )
    show(found, chosen(columns) if columns else _ITERATION, as_json=as_json, limit=limit)


@click.command
@with_client
@click.argument("experiment_or_iteration")
@click.option("--sets", "as_sets", is_flag=True, help="The complete sets of an iteration instead, the latest first.")
@json_option
@limit_option
def artifacts(client: Client, *, experiment_or_iteration: str, as_sets: bool, as_json: bool, limit: int) -> None:
    """List the artifacts of an experiment (id or name) or of one iteration (id or NAME/INDEX)."""
    if as_sets:
        iteration = find_iteration(client, experiment_or_iteration)
        show(client.artifact_sets(iteration.id, limit=one_more(limit)), _SET, as_json=as_json, limit=limit)
        return
    found = find_either(client, experiment_or_iteration)
    of = client.experiment_artifacts if isinstance(found, Experiment) else client.iteration_artifacts
    show(of(found.id, limit=one_more(limit)), ARTIFACT, as_json=as_json, limit=limit)


@click.command
@with_client
@click.argument("iteration")
@click.option("--key", metavar="NAME", help="Only the metric of this name.")
@json_option
@limit_option
def metrics(client: Client, *, iteration: str, key: str | None, as_json: bool, limit: int) -> None:
    """List the metric points of ITERATION (an id or NAME/INDEX)."""
    columns: tuple[Column[MetricPoint], ...] = (
        Column("KEY", lambda row: row.key),
        Column("STEP", lambda row: str(row.step)),
        Column("VALUE", lambda row: str(row.value)),
        Column("TIME", lambda row: moment(row.time)),
    )
    found = client.metrics(find_iteration(client, iteration).id, key=key, limit=one_more(limit))
    show(found, columns, as_json=as_json, limit=limit)


_ITERATION: tuple[Column[Iteration], ...] = (
    Column("INDEX", lambda row: str(row.index)),
    Column("STATE", lambda row: row.state.value),
    Column("PARAMETERS", lambda row: assignments(row.parameters)),
    Column("METRICS", lambda row: assignments({key: last.last for key, last in row.metrics.items()})),
    Column("STARTED", lambda row: moment(row.started_at)),
    Column("ENDED", lambda row: moment(row.ended_at)),
    Column("ID", lambda row: str(row.id)),
    Column("NAME", lambda row: row.name),
    Column("TAGS", lambda row: assignments(row.tags)),
)

_SET: tuple[Column[ArtifactSet], ...] = (
    Column("MANIFEST", lambda row: row.manifest.path),
    Column("FILES", lambda row: str(row.files)),
    Column("BYTES", lambda row: str(row.bytes), lambda row: bytes_in_words(row.bytes)),
    Column("RECORDED", lambda row: moment(row.manifest.recorded_at)),
    Column("ID", lambda row: str(row.manifest.id)),
)

ARTIFACT: tuple[Column[Artifact], ...] = (
    Column("PATH", lambda row: row.path),
    Column("SIZE", lambda row: str(row.size), lambda row: bytes_in_words(row.size)),
    Column("SHA256", lambda row: row.sha256, lambda row: row.sha256[:12]),
    Column("STATE", lambda row: "suspect" if row.suspect else "complete"),
    Column("ID", lambda row: str(row.id)),
    Column("KEY", lambda row: row.location.key),
)
