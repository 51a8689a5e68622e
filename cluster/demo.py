"""The demo: a sweep of four iterations, from files on a volume to rows whose bytes were downloaded and compared.

Run in the project's virtual environment, with the cluster up: `python -m cluster.demo`. Twice is harmless. Exit code 0:
every object's SHA-256 equals its row; 1: something failed, said in words.
"""

import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cluster.installation import SYSTEM_NAMESPACE, Installation, experiment_namespace, install
from cluster.kubectl import CommandFailed, get, kubectl
from cluster.minio_setup import StoreSetupError
from cluster.waiting import until
from pinnace.client import ApiError, Client
from pinnace.compression import NotDecodable, unpacked
from pinnace.records import Artifact, Iteration
from pinnace.settings import ClientSettings, StoreSettings
from pinnace.signing import Credentials
from pinnace.stores.credentials import StaticCredentials
from pinnace.stores.s3 import S3Store
from pinnace.stores.store import StoreError

NAMESPACE = "demo"
EXPERIMENT = "iris-sweep"
EXAMPLE = Path(__file__).parents[1] / "examples/iris-sweep.yaml"
#: Training takes about 20 s per iteration and core; the rest is room for slow machines.
TIMEOUT_S = 900
#: Columns when the output is a file: an artifact's row fits.
FILE_WIDTH = 160


class DemoFailed(Exception):
    """The demo did not come to its end; the message says why."""


def main() -> int:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    try:
        installation = install(lambda line: console.print(f"[dim]•[/dim] {line}"))
        experiment_namespace(NAMESPACE, installation)
        console.print(f"[dim]•[/dim] kubectl apply --namespace {NAMESPACE} -f examples/iris-sweep.yaml")
        kubectl("apply", f"--filename={EXAMPLE}", namespace=NAMESPACE)
        experiment = follow(console)
        with Client(ClientSettings(api_url=installation.api_url, api_token=installation.admin_token)) as api:
            iterations, artifacts = list(api.iterations(experiment)), list(api.experiment_artifacts(experiment))
        console.print(table_of_iterations(iterations), table_of_artifacts(iterations, artifacts))
        compare(console, installation, artifacts)
    except (CommandFailed, StoreSetupError, ApiError, StoreError, DemoFailed) as error:
        console.print("[red]the demo failed:[/red]", escape(str(error)), soft_wrap=True)
        return 1
    console.print(what_next(), soft_wrap=True, markup=False)
    return 0


def follow(console: Console) -> UUID:
    """Show how far the Experiment is until all is ashore; its id. Raises DemoFailed."""
    text = "[bold]{task.fields[phase]}[/bold] {task.completed}/{task.total} iterations, {task.fields[files]}"
    columns = (TextColumn(text), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=4, phase="starting", files="")
        shown = ""

        def ashore() -> dict[str, Any] | None:
            nonlocal shown
            experiment = get("experiment", EXPERIMENT, NAMESPACE) or {}
            status = experiment.get("status", {})
            counts, files = status.get("iterations", {}), status.get("artifacts", {})
            done = counts.get("succeeded", 0) + counts.get("failed", 0)
            synced = condition(status, "ArtifactsSynced")
            line = f"{files.get('recorded', 0)} files ashore, {files.get('pending', 0)} on their way"
            phase = synced.get("reason", "Starting")
            progress.update(task, completed=done, total=counts.get("total", 4), phase=phase, files=line)
            if not console.is_terminal and (now := f"{phase}: {done} iterations ended, {line}") != shown:
                shown = now
                console.print(f"  {now}")
            return experiment if synced.get("status") == "True" else None

        experiment = until(ashore, timeout_s=TIMEOUT_S, interval_s=1.0)
    if experiment is None:
        says = kubectl("get", "experiment", EXPERIMENT, "--output=jsonpath={.status.conditions}", namespace=NAMESPACE)
        raise DemoFailed(f"ArtifactsSynced did not become True within {TIMEOUT_S} s; the conditions say: {says}")
    if condition(experiment["status"], "Succeeded").get("status") != "True":
        raise DemoFailed(f"the training failed: {condition(experiment['status'], 'Succeeded').get('message')}")
    return UUID(experiment["metadata"]["uid"])


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((entry for entry in status.get("conditions", []) if entry["type"] == kind), {})


def table_of_iterations(iterations: list[Iteration]) -> Table:
    table = Table(title=f"Iterations of {EXPERIMENT}, as the API has them")
    for heading in ("#", "parameters", "state", "best accuracy", "last loss"):
        table.add_column(heading)
    best = max((best_of(iteration) for iteration in iterations), default=0.0)
    for iteration in iterations:
        parameters = ", ".join(f"{name}={value}" for name, value in sorted(iteration.parameters.items()))
        accuracy = f"{best_of(iteration):.4f}" + (" ★" if best_of(iteration) == best else "")
        loss = iteration.metrics.get("loss")
        table.add_row(str(iteration.index), parameters, iteration.state, accuracy, str(loss.last) if loss else "")
    return table


def best_of(iteration: Iteration) -> float:
    accuracy = iteration.metrics.get("accuracy")
    return float(accuracy.max) if accuracy and accuracy.max is not None else float("-inf")


def table_of_artifacts(iterations: list[Iteration], artifacts: list[Artifact]) -> Table:
    index_of = {iteration.id: iteration.index for iteration in iterations}
    table = Table(title="Artifacts, as the API has them")
    for heading in ("#", "path", "bytes", "SHA-256", "object key"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "bytes" else "left")
    for row in sorted(artifacts, key=lambda row: (index_of[row.iteration_id], row.path)):
        index = str(index_of[row.iteration_id])
        table.add_row(index, row.path, f"{row.size:,}", row.sha256, row.location.key)
    return table


def compare(console: Console, installation: Installation, artifacts: list[Artifact]) -> None:
    """Download every object and compare its digest with the row. Raises DemoFailed."""
    settings = StoreSettings(
        endpoint=installation.store_url, region=installation.region, bucket=installation.bucket, addressing="path"
    )
    identity = Credentials(access_key_id=installation.access_key, secret_access_key=installation.secret_key)
    store = S3Store(settings, StaticCredentials(identity))
    different = [row.path for row in artifacts if downloaded_sha256(store, row) != row.sha256]
    if different or not artifacts:
        raise DemoFailed(f"the bytes in the store are not those of the rows: {', '.join(different) or 'no artifacts'}")
    size = sum(row.size for row in artifacts)
    console.print(f"[green]✓[/green] {len(artifacts)} objects, {size:,} bytes downloaded: every SHA-256 equals its row")


def downloaded_sha256(store: S3Store, row: Artifact) -> str:
    """Of the content; empty when the object can't be unpacked."""
    with tempfile.TemporaryFile() as file:
        try:
            store.get(row.location.key, unpacked(file, row.stored.encoding if row.stored else None, row.size))
        except NotDecodable:
            return ""
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def what_next() -> str:
    token = (
        f"$(kubectl get secret pinnace-admin-token --namespace {SYSTEM_NAMESPACE} "
        "--output jsonpath='{.data.token}' | base64 -d)"
    )
    return f"""
Try next (the first line puts kubectl, helm and the cluster's address into this shell):
  eval "$(python3 -m cluster tools)"; export PATH="$PWD/.venv/bin:$PATH"
  kubectl get experiments --namespace {NAMESPACE}
  kubectl explain experiment.spec.artifacts
  export PINNACE_API_URL=http://127.0.0.1:30080 PINNACE_API_TOKEN={token}
  pinnace artifacts {EXPERIMENT}
  kubectl apply --namespace {NAMESPACE} -f examples/failing.yaml     # fails, and its files are shipped all the same
  make demo-down                                                     # undoes everything
"""


if __name__ == "__main__":
    sys.exit(main())
