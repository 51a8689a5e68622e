"""`kubectl pinnace verify`: whether status, metadata API and store are of one mind."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import click

from pinnace.cli.exits import Exit
from pinnace.cli.kubectl.options import experiment_argument, required, with_api, with_kubectl
from pinnace.cli.output import bytes_in_words, escaped, print_json
from pinnace.cli.settings import store_settings
from pinnace.client import Client
from pinnace.kubectl import proofs
from pinnace.kubectl.calls import Kubectl
from pinnace.kubectl.gathering import find, pods_of
from pinnace.records import Artifact
from pinnace.stores.credentials import credentials_for
from pinnace.stores.retrieval import difference
from pinnace.stores.s3 import S3Store


@click.command
@with_kubectl
@with_api
@experiment_argument
@click.option(
    "--download",
    is_flag=True,
    help="Download every object and compare its SHA-256. Otherwise the store is asked for sizes and checksums.",
)
@click.option("--no-store", is_flag=True, help="Leave the store out: compare status, pods and API only.")
@click.option(
    "--endpoint",
    metavar="URL",
    help="Where the store is reached from here. Default: PINNACE_STORE_ENDPOINT, else as it was recorded.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Contradictions; 0: all.")
def verify(
    kubectl: Kubectl,
    api: Client | None,
    *,
    experiment: str,
    download: bool,
    no_store: bool,
    endpoint: str | None,
    as_json: bool,
    limit: int,
) -> None:
    """Compare EXPERIMENT's status with the metadata API, its pods' last reports with the rows, and rows with the store.

    Needs the metadata API and, for the store, credentials as `pinnace get` does. Exits 0 when all agree, 5 when the
    store does not hold what was recorded, and 8 when not everything is ashore or a pod and the API disagree.
    """
    client = required(api)
    found = find(kubectl, experiment)
    pods = pods_of(kubectl, found)
    with _stores(endpoint) as store:
        look = (lambda row: difference(store(row), row)) if download else proofs.head(store)
        verified = proofs.verify(found, pods, client, None if no_store else look)
    if as_json:
        print_json(verified)
    else:
        _say(verified, experiment, limit)
    checks = {each.check for each in verified.contradictions}
    click.get_current_context().exit(
        Exit.DIGEST if proofs.Check.BYTES in checks else Exit.UNFINISHED if checks else Exit.OK
    )


def _say(verified: proofs.Verified, experiment: str, limit: int) -> None:
    against = verified.contradictions
    for each in against[: limit or None]:
        click.echo(f"! {each.check}: {escaped(each.about)}: {escaped(each.message)}")
    if limit and len(against) > limit:
        click.echo(f"… and {len(against) - limit} more: --limit 0 shows all")
    skipped = f", {verified.skipped} not looked at in the store" if verified.skipped else ""
    compared = f"{verified.pods} pods, {verified.artifacts} objects of {bytes_in_words(verified.bytes)}{skipped}"
    verdict = f"{len(against)} contradictions" if against else "no contradiction"
    click.echo(f"{experiment}: {compared}: {verdict}")


@contextmanager
def _stores(endpoint: str | None) -> Iterator[Callable[[Artifact], S3Store]]:
    """The store of each row; one for all rows of a bucket. To be called from several threads."""
    opened: dict[tuple[str, str, str], S3Store] = {}
    turn = threading.Lock()
    with ExitStack() as at_the_end:

        def of(row: Artifact) -> S3Store:
            key = (row.location.endpoint, row.location.region, row.location.bucket)
            with turn:
                if key not in opened:
                    settings = store_settings(row.location, endpoint=endpoint)
                    opened[key] = at_the_end.enter_context(closing(S3Store(settings, credentials_for(settings))))
                return opened[key]

        yield of
