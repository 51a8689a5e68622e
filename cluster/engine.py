"""The Docker engine: the one that answers already, else one of our own, which nobody but us uses.

Ours keeps to itself: its own data, socket, configuration and control groups; a mount namespace, so that its mounts
end with it; no default bridge. `down` stops it and takes back what it changed.
"""

import contextlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cluster import cgroups, debian, firewall
from cluster.commands import Commands, last_words, text_of
from cluster.errors import ClusterError, Exit
from cluster.processes import Process, end
from cluster.settings import ROOT, Settings
from cluster.waiting import until

#: Seconds until the engine must answer; loading a large data folder takes some.
START_S = 60.0
#: Seconds that it gets to stop its containers and itself.
STOP_S = 30.0
CAP_SYS_RESOURCE = 24
WRAPPER = ROOT / "cluster/node/files/usr/local/bin/runc-without-sys-resource"
#: What the engine writes outside of its own folders, whatever its configuration says.
TRACES = tuple(map(Path, ("/etc/docker/key.json", "/etc/docker", "/opt/containerd", "/run/docker", "/run/containerd")))
#: Variables that would lead Docker's client elsewhere.
LEADING = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers. `host` is its DOCKER_HOST; empty means: as the user's environment says."""

    host: str
    own: bool

    def environment(self, settings: Settings) -> dict[str, str]:
        """The environment in which Docker's client and kind find it."""
        kept = {name: value for name, value in settings.environment.items() if not (self.own and name in LEADING)}
        return {**kept, **({"DOCKER_HOST": self.host} if self.host else {})}


@dataclass(frozen=True, slots=True)
class OwnEngine:
    """Our engine, running or not."""

    settings: Settings
    commands: Commands

    @property
    def host(self) -> str:
        return f"unix://{self.settings.state / 'docker.sock'}"

    @property
    def data(self) -> Path:
        return self.settings.cache / "docker"

    @property
    def _note(self) -> Path:
        return self.settings.state / "engine"

    @property
    def _before(self) -> Path:
        """How the machine was before the engine: FORWARD's policy, IP forwarding, which files it did not have."""
        return self.settings.state / "before-engine.json"

    def running(self) -> Process | None:
        """Its process, if it runs."""
        process = Process.noted(self._note)
        return process if process is not None and process.alive() else None

    def started(self) -> bool:
        """Whether it was started since the last `down`, even if it has died since."""
        return self._before.is_file()

    def leftovers(self) -> bool:
        """Whether its data still hold containers, which only the engine can remove."""
        return any((self.data / "containers").glob("*"))

    def start(self) -> Engine:
        """Start it unless it runs, installing Debian's when there is none. Raises ClusterError."""
        engine = Engine(self.host, own=True)
        if self.running() is None:
            if shutil.which("dockerd") is None:
                debian.install(self.commands, "docker.io")
            if shutil.which("docker") is None:  # newer Debians ship the client apart
                debian.install(self.commands, "docker-cli")
            if withheld() and shutil.which("jq") is None:
                debian.install(self.commands, "jq")
            self.commands.progress.say("starting a Docker engine of our own: none answers here")
            self._launch()
        if not until(lambda: answers(engine.environment(self.settings)), timeout_s=START_S, interval_s=0.1):
            raise ClusterError(
                f"our Docker engine does not answer: {last_words(text_of(self._log))}",
                hint="see the log; `python3 -m cluster down` cleans up",
                log=self._log,
            )
        return engine

    def stop(self) -> None:
        """End it and take back what it changed on this machine. Harmless when it doesn't run."""
        process = self.running()
        if process is not None:
            end([process], grace_s=STOP_S)
        cgroups.clear(grace_s=10.0)
        if self.started():
            before = json.loads(self._before.read_text(encoding="utf-8"))
            if others := _daemons():
                self.commands.progress.say(
                    f"another Docker engine runs (pid {others[0]}): the packet filter is left to it"
                )
            else:
                firewall.clear(self.commands, policy=before["policy"], forwarding=before["forwarding"])
                for trace in before.get("absent", []):
                    _remove(Path(trace))

    @property
    def _log(self) -> Path:
        return self.settings.logs / "dockerd.log"

    def _launch(self) -> None:
        for folder in (self.settings.state, self.data, self.settings.logs):
            folder.mkdir(parents=True, exist_ok=True)
        self.settings.state.chmod(0o700)
        if not self.started():
            before = {
                "policy": firewall.forward_policy(self.commands),
                "forwarding": firewall.FORWARDING.read_text(encoding="ascii").strip(),
                "absent": [str(trace) for trace in TRACES if not trace.exists()],
            }
            self._before.write_text(json.dumps(before), encoding="utf-8")
        configuration = self.settings.state / "daemon.json"
        wrapper = WRAPPER if withheld() else None
        configuration.write_text(json.dumps(daemon_configuration(self.settings, wrapper), indent=2), encoding="utf-8")
        cgroups.clear(grace_s=10.0)  # what an engine that was killed could not take with it
        (self.settings.state / "docker.pid").unlink(missing_ok=True)
        shutil.rmtree(self.settings.state / "docker", ignore_errors=True)
        group = cgroups.for_engine()
        # the shell joins the group and then becomes the engine: pid and start time stay the same
        script = 'if [ -n "$1" ]; then echo $$ > "$1/cgroup.procs"; fi; shift; exec "$@"'
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [
                    "sh", "-c", script, "sh", str(group or ""),
                    "unshare", "--mount", "--propagation=slave", "dockerd", f"--config-file={configuration}",
                ],
                env=Engine(self.host, own=True).environment(self.settings), stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._note.write_text(str(Process.of(process.pid) or ""), encoding="ascii")


def find(settings: Settings, commands: Commands) -> Engine | None:
    """The engine that answers: ours when it runs, else the user's. Starts nothing."""
    own = OwnEngine(settings, commands)
    if own.running() is not None:
        return Engine(own.host, own=True)
    environment = dict(settings.environment)
    if environment.get("DOCKER_HOST") == own.host:  # exported by `tools` in better days
        del environment["DOCKER_HOST"]
    return Engine(environment.get("DOCKER_HOST", ""), own=False) if answers(environment) else None


def ensure(settings: Settings, commands: Commands) -> Engine:
    """The engine that answers, or our own, started. Raises ClusterError where that can't be."""
    engine = find(settings, commands)
    if engine is not None and not engine.own:
        return engine
    if engine is None and not debian.can_install() and (os.geteuid() != 0 or shutil.which("dockerd") is None):
        raise ClusterError(
            "no Docker engine answers, and one can be brought along only as root on Debian",
            hint="start Docker and try again",
            code=Exit.MISSING,
        )
    return OwnEngine(settings, commands).start()


def answers(environment: dict[str, str]) -> bool:
    """Whether an engine answers Docker's client."""
    try:
        done = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            env=environment, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=15,
        )  # fmt: skip
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def daemon_configuration(settings: Settings, wrapper: Path | None) -> dict[str, object]:
    """dockerd's configuration file. `wrapper` stands in for runc where CAP_SYS_RESOURCE is withheld."""
    configuration: dict[str, object] = {
        "hosts": [f"unix://{settings.state / 'docker.sock'}"],
        "data-root": str(settings.cache / "docker"),
        "exec-root": str(settings.state / "docker"),
        "pidfile": str(settings.state / "docker.pid"),
        "bridge": "none",
        "cgroup-parent": f"/{cgroups.BRANCH}",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
    }
    if wrapper is not None:
        configuration |= {
            "runtimes": {"runc-without-sys-resource": {"path": str(wrapper)}},
            "default-runtime": "runc-without-sys-resource",
        }
    return configuration


def withheld(status: str | None = None) -> bool:
    """Whether CAP_SYS_RESOURCE is missing from this process's bounding set (`status`: /proc/self/status)."""
    if status is None:
        file = Path("/proc/self/status")
        status = file.read_text(encoding="ascii", errors="replace") if file.is_file() else ""
    bounding = [line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:")]
    return bool(bounding) and not int(bounding[0], 16) >> CAP_SYS_RESOURCE & 1


def _remove(trace: Path) -> None:
    if trace.is_file():
        trace.unlink()
    elif trace == TRACES[1]:
        with contextlib.suppress(OSError):  # somebody has put something there since
            trace.rmdir()
    else:
        shutil.rmtree(trace, ignore_errors=True)


def _daemons() -> list[int]:
    found = []
    for name in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if name.read_text(encoding="utf-8").strip() == "dockerd" and Process.of(int(name.parent.name)):
                found.append(int(name.parent.name))
    return found
