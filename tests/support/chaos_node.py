"""The cluster's node under chaos: what its trainings said is kept there, and what runs on it is struck there.

Everything goes through `docker exec`, so it works while the cluster's own API is away.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from subprocess import DEVNULL, Popen
from typing import Final

from cluster.kubectl import CommandFailed, items, run
from support.chaos_writing import LEDGER_FILE, LEDGER_VOLUME

#: The kubelet removes a pod's volumes with the pod; a second name keeps the file. The folder of its logs tells that a
#: container was made.
_KEPT: Final = "/var/log/chaos-ledger"
_KEEP: Final = f"""
cd /var/log/pods
until [ -e {_KEPT}/stop ]; do
  for made in PREFIX*/train; do
    [ -e "$made" ] || continue
    pod="${{made%/train}}"
    mkdir -p "{_KEPT}/$pod"
    said="/var/lib/kubelet/pods/${{pod##*_}}/volumes/kubernetes.io~empty-dir/{LEDGER_VOLUME}/{LEDGER_FILE}"
    [ -e "$said" ] && [ ! -e "{_KEPT}/$pod/{LEDGER_FILE}" ] && ln "$said" "{_KEPT}/$pod/"
  done
  sleep 0.2
done
"""
_LIST: Final = f'cd {_KEPT} && for pod in *_*; do echo "==> $pod"; cat "$pod/{LEDGER_FILE}" 2> /dev/null; done; true'
_ENVIRONMENTS: Final = 'for pid in $(pgrep -f "$0"); do echo "PID=$pid"; tr "\\0" "\\n" < /proc/$pid/environ; done'


@dataclass(frozen=True, slots=True)
class Node:
    name: str

    @classmethod
    def only(cls) -> "Node":
        [node] = items("nodes")
        return cls(node["metadata"]["name"])

    def run(self, *command: str, timeout: float = 30) -> str:
        return run(["docker", "exec", self.name, *command], timeout=timeout)

    @contextmanager
    def ledger(self, prefix: str) -> Iterator[None]:
        """Keep what the trainings in namespaces of this prefix say, until the end of the block and their pods' ends."""
        self.run("rm", "-rf", _KEPT)
        self.run("mkdir", "-p", _KEPT)
        command = ["docker", "exec", self.name, "sh", "-c", _KEEP.replace("PREFIX", prefix)]
        keeper = Popen(command, stdout=DEVNULL, stderr=DEVNULL)
        try:
            yield
        finally:
            self.run("touch", f"{_KEPT}/stop")
            keeper.wait(timeout=30)
            self.run("rm", "-rf", _KEPT)

    def read_ledger(self) -> list[str]:
        return self.run("sh", "-c", _LIST, timeout=60).splitlines()

    def signal(self, signal: str, pattern: str) -> bool:
        """Send it to every process whose command line matches; False when there was none."""
        with suppress(CommandFailed):
            self.run("pkill", f"-{signal}", "-f", pattern)
            return True
        return False

    def processes(self, pattern: str) -> list[tuple[str, dict[str, str]]]:
        """Id and environment of the processes whose command line matches."""
        found: list[tuple[str, dict[str, str]]] = []
        # The pattern is an argument, and the shell would find itself by it.
        for line in self.run("sh", "-c", _ENVIRONMENTS, _never_itself(pattern)).splitlines():
            name, _, value = line.partition("=")
            if name == "PID":
                found.append((value, {}))
            elif found:
                found[-1][1][name] = value
        return found

    def kill(self, pid: str) -> None:
        self.run("kill", "-KILL", pid)


def _never_itself(pattern: str) -> str:
    return f"[{pattern[0]}]{pattern[1:]}"
