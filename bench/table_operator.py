"""Table `operator`: what so many Experiments cost the operator, on a real API server with a real Job controller.

The nodes are played: tests/support/pod_player.py writes the pods' statuses and the sidecars' last reports. The metadata
API is a real process on SQLite. All of them share this machine's cores, so times say little and counts say all.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import urllib3
import yaml

from bench import process_tree
from bench.harness import Row, say
from bench.table import Table, Wishes
from support.api_process import ApiProcess, api_processes
from support.control_plane import CONTROLLERS, ControlPlane, control_plane
from support.crd import CRD
from support.eventually import eventually
from support.operator_process import OperatorProcess
from support.operator_world import manifest
from support.pod_player import Behaviour, PodPlayer

_IDLE_S = 20
_NAMESPACE = "default"
#: On a machine that does other things as well.
_DRAIN_S = 3600
#: Who asks on the operator's behalf.
_AGENTS = ("pinnace-operator", "kopf/")


def operator(wishes: Wishes) -> list[Row]:
    rows = []
    for number in (100, 500) if wishes.quick else (100, 500, 1_000, 2_000):
        folder = wishes.scratch / f"operator-{number}"
        folder.mkdir()
        row = Row(table="operator", group="", name=f"{number:,}", files=number, figures=_measure(folder, number))
        rows.append(row)
        say(f"{row.name}: {', '.join(f'{name} {value[0]:.1f}' for name, value in row.figures.items())}")
    return rows


def _measure(folder: Path, number: int) -> dict[str, list[float]]:
    with _installation(folder) as (plane, api, operator):
        http = _http(plane)
        asked = _api_requests(api)
        begun, worked = time.perf_counter(), sum(process_tree.cpu(operator.pid))
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda index: _create(http, plane, index), range(number)))

        def is_drained() -> bool:
            figures = operator.metrics()
            done = figures.get("pinnace_operator_jobs_created_total") == number
            return done and figures["pinnace_operator_experiments"] == 0

        eventually(is_drained, timeout=_DRAIN_S, interval=0.5, what=f"{number} Experiments are finished")
        seconds = time.perf_counter() - begun
        worked = sum(process_tree.cpu(operator.pid)) - worked
        requests = _requests(plane)
        api_requests = _api_requests(api) - asked
        until = time.monotonic() + _IDLE_S
        eventually(lambda: time.monotonic() >= until, timeout=_IDLE_S + 5, interval=1, what="some time passes")
        idle = sum(_requests(plane).values()) - sum(requests.values())
        say("  " + ", ".join(f"{what} {count / number:.2f}" for what, count in requests.most_common()))
        return {
            "requests": [sum(requests.values()) / number],
            "idle": [float(idle)],
            "api_requests": [api_requests / number],
            "cpu_ms": [1000 * worked / number],
            "peak_mib": [_peak_mib(operator.pid)],
            "seconds": [seconds],
        }


@contextmanager
def _installation(folder: Path) -> Iterator[tuple[ControlPlane, ApiProcess, OperatorProcess]]:
    with (
        control_plane(folder, controllers=CONTROLLERS) as plane,
        api_processes(folder, f"sqlite:///{folder / 'api.db'}", 1) as [api],
        api.admin() as client,
    ):
        http = _http(plane)
        crd = json.dumps(yaml.safe_load(CRD.read_text()))
        http.request("POST", f"{plane.url}/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body=crd)
        eventually(lambda: http.request("GET", _experiments(plane)).status == 200, timeout=30, what="the CRD is served")
        operator = OperatorProcess(folder, plane, api, name="bench", log_level="warning", poll_seconds=5)
        operator.start()
        player = PodPlayer(plane, client, lambda _: Behaviour.SUCCEED)
        player.start()
        try:
            eventually(operator.is_leader, timeout=60, what="the operator leads")
            yield plane, api, operator
        finally:
            player.close()
            operator.stop()


def _http(plane: ControlPlane) -> urllib3.PoolManager:
    headers = {"Authorization": f"Bearer {plane.token}", "Content-Type": "application/json"}
    return urllib3.PoolManager(ca_certs=str(plane.authority), headers=headers, maxsize=8)


def _experiments(plane: ControlPlane) -> str:
    return f"{plane.url}/apis/pinnace.dev/v1alpha1/namespaces/{_NAMESPACE}/experiments"


def _create(http: urllib3.PoolManager, plane: ControlPlane, index: int) -> None:
    body = manifest()
    body["metadata"] = {"name": f"bench-{index}"}
    answer = http.request("POST", _experiments(plane), body=json.dumps(body))
    if answer.status != 201:
        raise RuntimeError(answer.data.decode())


def _requests(plane: ControlPlane) -> Counter[str]:
    """What the operator asked of the API server, beside its watches and its Lease."""
    found: Counter[str] = Counter()
    with plane.audit_log.open() as log:
        for line in log:
            entry = json.loads(line)
            about = entry.get("objectRef", {})
            ours = entry.get("userAgent", "").startswith(_AGENTS) and entry["verb"] != "watch"
            if ours and about.get("resource") not in (None, "leases"):
                found["/".join((entry["verb"], about["resource"], *filter(None, [about.get("subresource")])))] += 1
    return found


def _api_requests(api: ApiProcess) -> float:
    """All but the reports of the played sidecars."""
    lines = urllib3.request("GET", f"{api.url}/metrics").data.decode().splitlines()
    counted = [line for line in lines if line.startswith("pinnace_api_requests_total{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in counted if "/report" not in line and "/metrics" not in line)


def _peak_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


TABLES = (Table("operator", operator),)
