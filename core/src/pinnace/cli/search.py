"""Which iterations, and in which order: what commands ask for alike that list or write them."""

from collections.abc import Callable, Iterator
from typing import Any

import click

from pinnace.cli.options import project_option
from pinnace.cli.references import find_experiment
from pinnace.client import Client
from pinnace.records import Iteration, Shown

_OPTIONS = (
    click.argument("experiment", required=False),
    project_option,
    click.option("--filter", "where", metavar="TEXT", help="Only those that match: 'metrics.accuracy.last > 0.9'."),
    click.option("--sort", metavar="FIELDS", help="Sorted by these: 'metrics.accuracy.max desc, name'."),
)


def search_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds an optional EXPERIMENT, `--project`, `--filter` and `--sort`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def search(
    client: Client,
    *,
    experiment: str | None,
    project: str | None,
    where: str | None,
    sort: str | None,
    shown: Shown,
    limit: int | None = None,
) -> Iterator[Iteration]:
    """Those of the experiment (an id or a name) by index, or all that match, the newest first."""
    return client.search(
        where,
        project=project,
        experiment=find_experiment(client, experiment).id if experiment else None,
        order_by=sort or ("index" if experiment else None),
        lifecycle=shown,
        limit=limit,
    )
