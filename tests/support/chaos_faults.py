"""The faults of a schedule, done to the cluster, and who they hit."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from cluster.installation import STORE_NAMESPACE, SYSTEM_NAMESPACE
from cluster.kubectl import CommandFailed, items, kubectl
from pinnace.naming import EXPERIMENT_LABEL, ITERATION_ID_LABEL
from support.chaos_node import Node
from support.chaos_schedule import ENDING, MAX_ENDINGS, Fault, Strike
from support.eventually import eventually
from support.system import evict, is_ready

_STORE: Final = "minio server"
#: Their processes' command lines, and labels and namespace of their pods.
_PARTS: Final = {
    Fault.OPERATOR_KILLED: ("pinnace_operator", "app.kubernetes.io/component=operator", SYSTEM_NAMESPACE),
    Fault.API_KILLED: ("pinnace_api", "app.kubernetes.io/component=api", SYSTEM_NAMESPACE),
    Fault.STORE_KILLED: (_STORE, "app.kubernetes.io/name=minio", STORE_NAMESPACE),
}
#: In a pod of an Experiment.
_PROCESSES: Final = {Fault.SIDECAR_KILLED: "pinnace_sidecar", Fault.TRAINING_KILLED: "hashlib.shake_256"}
_SIGNALS: Final = {
    Fault.STORE_FROZEN: ("STOP", _STORE),
    Fault.API_SERVER_KILLED: ("KILL", "^kube-apiserver"),
    Fault.CONTAINERD_KILLED: ("KILL", "^(/usr/(local/)?bin/)?containerd( |$)"),
    Fault.KUBELET_KILLED: ("KILL", "^(/usr/bin/)?kubelet( |$)"),
}


class Faults:
    """Strikes as the schedule wants them. Whoever may have been hit is remembered before he is."""

    def __init__(self, node: Node, namespaces: Sequence[str], say: Callable[[str], None]) -> None:
        self._node = node
        self._namespaces = namespaces
        self._say = say
        self._began = time.monotonic()
        self._struck: dict[str, set[Fault]] = defaultdict(set)
        self._endings: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()

    def strike(self, strike: Strike) -> None:
        try:
            victim = self._strike(strike)
        except CommandFailed as error:
            # The cluster's API may be away, or the victim has just ended.
            victim = ""
            self._say(f"{strike.fault} failed: {str(error)[:200]}")
        (self.done if victim else self.missed)[strike.fault.value] += 1
        self._say(f"{time.monotonic() - self._began:6.1f} s {strike.fault}: {victim or 'nobody'}")

    def struck(self) -> dict[str, frozenset[Fault]]:
        return {pod: frozenset(faults) for pod, faults in self._struck.items()}

    def thaw(self) -> None:
        self._node.signal("CONT", _STORE)

    def lift(self) -> None:
        """Until everything that was struck answers again."""
        self.thaw()
        eventually(is_ready, timeout=240, interval=1, what="the system is ready again")

    def _strike(self, strike: Strike) -> str:
        fault = strike.fault
        if fault in _PARTS:
            return self._end_part(*_PARTS[fault], strike)
        if fault in _PROCESSES:
            return self._kill_process(_PROCESSES[fault], strike)
        if fault in _SIGNALS:
            signal, pattern = _SIGNALS[fault]
            return pattern if self._node.signal(signal, pattern) else ""
        return self._end_pod(strike)

    def _end_part(self, pattern: str, labels: str, namespace: str, strike: Strike) -> str:
        """Its process, or its pod: the next one begins at once, without Kubernetes' growing pauses."""
        if strike.draw < 0.4:
            return f"process {pattern}" if self._node.signal("KILL", pattern) else ""
        # Two stores must never share a volume, so this one's pod is waited for.
        now = ["--grace-period=1"] if strike.fault is Fault.STORE_KILLED else ["--grace-period=0", "--force"]
        kubectl("delete", "pod", f"--selector={labels}", *now, "--wait=false", namespace=namespace, timeout=20)
        return f"pod {labels}"

    def _kill_process(self, pattern: str, strike: Strike) -> str:
        found = [
            (variables.get("PINNACE_POD_UID") or variables.get("POD_UID", ""), variables["PINNACE_ITERATION_ID"], pid)
            for pid, variables in self._node.processes(pattern)
            if self._may_end(strike.fault, variables.get("PINNACE_ITERATION_ID", ""))
            and variables.get("HOSTNAME", "").startswith("trial-")
        ]
        if not found:
            return ""
        uid, iteration, pid = sorted(found)[int(strike.draw * len(found))]
        self._note(strike.fault, uid, iteration)
        self._node.kill(pid)
        return f"of pod {uid}"

    def _end_pod(self, strike: Strike) -> str:
        pods = [
            pod
            for namespace in self._namespaces
            for pod in items("pods", namespace, EXPERIMENT_LABEL)
            if pod["status"].get("phase") == "Running"
            and "deletionTimestamp" not in pod["metadata"]
            and self._may_end(strike.fault, pod["metadata"]["labels"][ITERATION_ID_LABEL])
        ]
        if not pods:
            return ""
        meta = pods[int(strike.draw * len(pods))]["metadata"]
        name, namespace = meta["name"], meta["namespace"]
        self._note(strike.fault, meta["uid"], meta["labels"][ITERATION_ID_LABEL])
        if strike.fault is Fault.POD_EVICTED:
            evict(name, namespace)
        else:
            at_once = ["--grace-period=0", "--force"] if strike.fault is Fault.POD_DELETED_AT_ONCE else []
            kubectl("delete", "pod", name, *at_once, "--wait=false", namespace=namespace, timeout=20)
        return f"{name} {meta['uid']}"

    def _may_end(self, fault: Fault, iteration: str) -> bool:
        return fault not in ENDING or self._endings[iteration] < MAX_ENDINGS

    def _note(self, fault: Fault, pod: str, iteration: str) -> None:
        self._struck[pod].add(fault)
        self._endings[iteration] += fault in ENDING
