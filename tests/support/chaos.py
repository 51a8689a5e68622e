"""Short Experiments on the cluster while whatever carries them is killed, frozen and restarted, in an order by chance.

    python -m support.chaos --experiments 50 --seconds 600

prints what happened as JSON and ends with 1 when a promise was broken. `--seed` repeats an order.
"""

import argparse
import heapq
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count
from typing import Any, Final

from cluster.installation import experiment_namespace
from cluster.kubectl import CommandFailed, apply, items, kubectl
from support.chaos_evidence import History, at_rest, evidence, remaining, world
from support.chaos_faults import Faults
from support.chaos_node import Node
from support.chaos_schedule import Schedule, Trial, schedule
from support.chaos_verdict import silent, verdict
from support.chaos_writing import LEDGER_FILE, LEDGER_FOLDER, LEDGER_VOLUME, PROGRAM, told
from support.eventually import eventually
from support.ledger import objects
from support.system import System, diagnose, experiment_manifest, installed_system

#: Seconds after the last strike until everything is to have come to its end.
REST_S: Final = 300
#: Seconds that deleting the namespaces may take.
DELETION_S: Final = 150
_NAMESPACES: Final = 2


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What happened. `broken` names every promise that was not kept."""

    seed: int
    experiments: int = 0
    #: How often each fault struck, and how often it found no victim or failed.
    strikes: dict[str, int] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)
    pods: int = 0
    #: Pods that left no last word, each by a strike that excuses it.
    silenced: int = 0
    completed: int = 0
    rows: int = 0
    points: int = 0
    seconds: float = 0.0
    rest_seconds: float = 0.0
    deletion_seconds: float = 0.0
    broken: list[str] = field(default_factory=list)


def chaos(system: System, plan: Schedule, say: Callable[[str], None]) -> Outcome:
    """Carry the plan out, wait until everything has come to rest, and compare."""
    outcome = Outcome(seed=plan.seed, experiments=len(plan.trials))
    began = time.monotonic()
    prefix = f"chaos-{plan.seed:08x}"
    namespaces = [f"{prefix}-{number}" for number in range(_NAMESPACES)]
    before = objects(system.bucket, system.bucket_name)
    node = Node.only()
    for namespace in namespaces:
        experiment_namespace(namespace, system.installation)
    with node.ledger(prefix), History(prefix) as history, _deleted(namespaces, outcome):
        faults = Faults(node, namespaces, say)
        try:
            _carry_out(plan, namespaces, faults, say)
        finally:
            faults.lift()
        outcome.strikes, outcome.missed = dict(faults.done), dict(faults.missed)
        resting = time.monotonic()
        with suppress(AssertionError):
            eventually(lambda: at_rest(plan, namespaces), timeout=REST_S, interval=2, what="everything at rest")
        outcome.rest_seconds = time.monotonic() - resting
        stuck = remaining(plan, namespaces)
        pods = told(node.read_ledger())
        seen = [evidence(system, trial, _namespace(trial, namespaces), pods, history) for trial in plan.trials]
        outcome.broken = verdict(seen, world(system, before, stuck), faults.struck())
        outcome.pods, outcome.silenced = len(pods), sum(len(silent(one)) for one in seen)
        outcome.completed = sum(len(pod.completed) for pod in pods)
        outcome.rows = sum(len(one.rows) for one in seen)
        outcome.points = sum(len(points) for one in seen for points in one.points.values())
        if outcome.broken:
            for namespace in namespaces:
                diagnose(namespace)
    outcome.seconds = time.monotonic() - began
    return outcome


def _carry_out(plan: Schedule, namespaces: list[str], faults: Faults, say: Callable[[str], None]) -> None:
    number = count()
    due: list[tuple[float, int, Callable[[], Any]]] = []

    def at(seconds: float, what: Callable[[], Any]) -> None:
        heapq.heappush(due, (seconds, next(number), what))

    for trial in plan.trials:
        at(trial.starts_at, partial(_start, trial, _namespace(trial, namespaces)))
    for strike in plan.strikes:
        at(strike.at, partial(faults.strike, strike))
        if strike.seconds:
            at(strike.at + strike.seconds, faults.thaw)
    began = time.monotonic()
    while due:
        seconds, _, what = heapq.heappop(due)
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        what()
    say(f"all {len(plan.trials)} Experiments begun, all {len(plan.strikes)} strikes done")


def _namespace(trial: Trial, namespaces: list[str]) -> str:
    return namespaces[int(trial.name.rpartition("-")[2]) % len(namespaces)]


def _start(trial: Trial, namespace: str) -> None:
    manifest = experiment_manifest(
        trial.name,
        program=PROGRAM,
        environment={
            "SMALL_FILES": str(trial.small_files),
            "BIG_MIB": str(trial.big_mib),
            "SECONDS_TO_RUN": str(trial.seconds),
            "EXIT_CODE": str(trial.exit_code),
            "LEDGER": f"{LEDGER_FOLDER}/{LEDGER_FILE}",
        },
        parameters={"grid": {"n": list(range(trial.iterations))}},
        parallelism=trial.parallelism,
        backoffLimit=0 if trial.exit_code else 6,
    )
    pod = manifest["spec"]["template"]["spec"]
    pod["volumes"] = [{"name": LEDGER_VOLUME, "emptyDir": {}}]
    [container] = pod["containers"]
    container["volumeMounts"] = [{"name": LEDGER_VOLUME, "mountPath": LEDGER_FOLDER}]
    container["env"].append({"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}})

    def applied() -> bool:
        # The cluster's API may be away at the moment.
        with suppress(CommandFailed):
            apply(manifest, namespace=namespace)
            return True
        return False

    eventually(applied, timeout=120, interval=1, what=f"{trial.name} applied")


@contextmanager
def _deleted(namespaces: list[str], outcome: Outcome) -> Iterator[None]:
    """Delete them afterwards; what does not go in time is a broken promise."""
    try:
        yield
    finally:
        began = time.monotonic()
        try:
            kubectl(
                "delete", "namespace", *namespaces, f"--timeout={DELETION_S}s", timeout=DELETION_S + 10
            )  # fmt: skip
        except CommandFailed as error:
            left = [
                f"{each['kind']} {each['metadata']['name']} {each['metadata'].get('finalizers', [])}"
                for namespace in namespaces
                for each in items("experiments,jobs,pods", namespace)
            ]
            outcome.broken.append(f"namespaces are not gone after {DELETION_S} s: {error}; {left}")
        outcome.deletion_seconds = time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=600, help="how long it is struck")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments = parser.parse_args()
    sys.stderr.write(f"--seed {arguments.seed}\n")
    plan = schedule(arguments.seed, experiments=arguments.experiments, seconds=arguments.seconds)
    with installed_system() as system:
        outcome = chaos(system, plan, partial(print, file=sys.stderr, flush=True))
    sys.stdout.write(json.dumps(asdict(outcome), indent=2) + "\n")
    return 1 if outcome.broken else 0


if __name__ == "__main__":
    sys.exit(main())
