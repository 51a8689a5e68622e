"""A pod under fire: writers of every kind, a store that misbehaves, an API that is restarted, a sidecar that is killed.

    python -m support.soak --kills 500

prints what happened as JSON and ends with 1 when a promise was broken.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import msgspec

from pinnace.ids import iteration_id
from pinnace.records import ExperimentWrite, IterationWrite, WriterEnd
from support import soak_stores, soak_writers
from support.api_server import ApiServer, api_server
from support.sidecar_process import SidecarProcess
from support.soak_stores import SoakStore
from support.soak_verdict import Ledger, differences

NAMESPACE = "ml"
POD = "pod-under-fire"


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What happened. `broken` names every promise that was not kept."""

    seed: int
    kills: int
    #: Kills while copies lay in the buffer.
    kills_in_mid_work: int = 0
    api_restarts: int = 0
    completed: int = 0
    rows: int = 0
    megabytes: float = 0.0
    points: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    drain_seconds: float = 0.0
    broken: list[str] = field(default_factory=list)


def soak(folder: Path, store: SoakStore, *, kills: int, seed: int) -> Outcome:
    """Kill the sidecar `kills` times while everything else goes on, let it end in peace, and compare."""
    rng = random.Random(seed)
    outcome = Outcome(seed=seed, kills=kills)
    began = time.monotonic()
    with api_server(folder) as api, _sidecar(folder / "pod", api, store) as sidecar:
        with _writers(folder, sidecar, seed):
            store.misbehave()
            for _ in range(kills):
                sidecar.begin()
                _wait_for_a_moment(rng, sidecar, store)
                outcome.kills_in_mid_work += any(_copies(sidecar).iterdir())
                sidecar.kill()
                if rng.random() < 0.04:
                    outcome.api_restarts += 1
                    api.stop()
                    sidecar.begin()
                    time.sleep(0.5)
                    sidecar.kill()
                    api.start()
        outcome.faults = store.behave()
        api.cluster.end_writers(namespace=NAMESPACE, pod_uid=POD, ended=WriterEnd.CLEAN)
        at_rest = time.monotonic()
        sidecar.start()
        sidecar.end_writers()
        code = sidecar.wait(timeout=sidecar.settings.drain_timeout_seconds + 30)
        outcome.drain_seconds = time.monotonic() - at_rest
        if code != 0 or not sidecar.last_words().final:
            outcome.broken.append(f"the last drain was not final (exit code {code}): {sidecar.log()[-2000:]}")
        _compare(outcome, folder, api, sidecar, store)
    outcome.seconds = time.monotonic() - began
    return outcome


def _wait_for_a_moment(rng: random.Random, sidecar: SidecarProcess, store: SoakStore) -> None:
    """At any time, before it serves or in the middle of it, or just when there is a new copy or request."""
    seconds = rng.choice([rng.uniform(0.1, 0.8), rng.uniform(0.7, 1.5), rng.uniform(1.0, 2.0)])
    moment = rng.choice(["any", "copy", "Create", "PutPart", "Complete", "Put"])
    if moment == "any":
        time.sleep(seconds)
        return
    time.sleep(seconds / 2)
    if moment == "copy":
        _wait_for_a_copy(sidecar, seconds)
    elif not store.strike(moment, sidecar.strike, seconds):
        time.sleep(seconds / 2)


def _wait_for_a_copy(sidecar: SidecarProcess, seconds: float) -> None:
    before, until = set(_copies(sidecar).iterdir()), time.monotonic() + seconds
    while time.monotonic() < until and set(_copies(sidecar).iterdir()) <= before:
        time.sleep(0.0005)


def _compare(outcome: Outcome, folder: Path, api: ApiServer, sidecar: SidecarProcess, store: SoakStore) -> None:
    iteration = sidecar.settings.iteration_id
    admin = api.admin()
    ledger = Ledger.read((folder / "ledgers").iterdir(), outcome.seed)
    rows, points = list(admin.iteration_artifacts(iteration)), list(admin.metrics(iteration))
    outcome.completed, outcome.rows, outcome.points = len(ledger.completed), len(rows), len(points)
    outcome.megabytes = sum(row.size for row in rows) / 1e6
    outcome.broken += differences(ledger, rows, store.objects(), points)
    outcome.broken += [f"an upload was left dangling: {key}" for key in store.uploads()]
    outcome.broken += [f"a copy was left in the buffer: {copy.name}" for copy in _copies(sidecar).iterdir()]
    (standing,) = admin.pods(admin.iteration(iteration).experiment_id)
    report = sidecar.last_words()
    if standing.recorded != report.manifest or standing.report != report:
        outcome.broken.append("the pod's last report and the API don't agree")
    if report.pending or report.files.get("quarantined"):  # type: ignore[call-overload]
        outcome.broken.append(f"not every file came to its end: {report.files} {report.problems}")


@contextmanager
def _sidecar(folder: Path, api: ApiServer, store: SoakStore) -> Iterator[SidecarProcess]:
    experiment = uuid4()
    iteration = iteration_id(experiment, 0)
    admin = api.admin()
    admin.put_experiment(experiment, ExperimentWrite(project="faults", name="soak", namespace=NAMESPACE))
    admin.put_iteration(iteration, IterationWrite(experiment_id=experiment, index=0))
    token = api.cluster.add_pod(iteration, namespace=NAMESPACE, pod_uid=POD)
    sidecar = SidecarProcess(
        folder, iteration_id=iteration, pod_uid=POD, store=store.settings, api_url=api.url, token=token
    )
    sidecar.settings = msgspec.structs.replace(
        sidecar.settings, metrics_files=("metrics/*.jsonl",), drain_timeout_seconds=300
    )
    _copies(sidecar).mkdir()
    try:
        yield sidecar
    finally:
        sidecar.close()


@contextmanager
def _writers(folder: Path, sidecar: SidecarProcess, seed: int) -> Iterator[None]:
    """One process of each kind; they have ended, and well, at the end."""
    ledgers, stop = folder / "ledgers", folder / "stop"
    ledgers.mkdir()
    volume, iteration = sidecar.settings.artifacts_dir, str(sidecar.settings.iteration_id)
    common = [volume, str(_copies(sidecar)), iteration, str(stop), str(seed)]
    processes = [
        subprocess.Popen([sys.executable, soak_writers.__file__, kind, str(ledgers / kind), *common])
        for kind in soak_writers.KINDS
    ]
    try:
        yield
    finally:
        stop.touch()
        codes = [process.wait(timeout=30) for process in processes]
    assert not any(codes), f"writers ended with {codes}"


def _copies(sidecar: SidecarProcess) -> Path:
    return Path(sidecar.settings.buffer_dir) / "files"


def _store(name: str, folder: Path, seed: int) -> AbstractContextManager[SoakStore]:
    match name:
        case "minio":
            return soak_stores.minio(folder)
        case "weed":
            return soak_stores.weed(folder)
    return soak_stores.misbehaving(folder, seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--store", choices=["misbehaving", "minio", "weed"], default="misbehaving")
    arguments = parser.parse_args()
    with TemporaryDirectory(prefix="pinnace-soak-") as name:
        folder = Path(name)
        with _store(arguments.store, folder, arguments.seed) as store:
            outcome = soak(folder, store, kills=arguments.kills, seed=arguments.seed)
    sys.stdout.write(json.dumps(asdict(outcome), indent=2) + "\n")
    return 1 if outcome.broken else 0


if __name__ == "__main__":
    sys.exit(main())
