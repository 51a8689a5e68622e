"""What is started on this machine, how others find it, and how it is taken back."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import firewall
from cluster.commands import Commands, end_orphans, last_words
from cluster.docker import begun, refusal
from cluster.engine import Engine, daemon_configuration, withheld
from cluster.errors import ClusterError
from cluster.processes import Holder, Process
from cluster.programs import HELM, KIND, MODULE, compiled, kubernetes_version, linker_flags, relink, without
from cluster.progress import Progress, duration
from cluster.settings import ROOT, Settings
from cluster.shell import export_lines, variables
from support.eventually import eventually

ENVIRONMENT = {"PATH": os.defpath}
SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]


def settings(folder: Path, **environment: str) -> Settings:
    return Settings(
        cache=folder / "cache",
        state=folder / "state",
        node_image="",
        base_image="",
        environment={**ENVIRONMENT, **environment},
    )


def commands(folder: Path) -> Commands:
    return Commands(progress=Progress(stream=io.StringIO()), environment=ENVIRONMENT, logs=folder / "logs")


def test_the_tools_lines_lead_a_shell_to_our_engine_and_our_kubeconfig(tmp_path: Path) -> None:
    place = tmp_path / "it's here"
    found = settings(place, PATH="/usr/bin:/bin")
    lines = export_lines(found, Engine("unix:///run/x.sock", own=True))
    shell = subprocess.run(
        ["/bin/sh", "-c", f'{lines}\nprintf "%s\\n" "$PATH" "$DOCKER_HOST" "$KUBECONFIG"'],
        env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shell.stdout.splitlines() == [f"{found.bin}:/usr/bin:/bin", "unix:///run/x.sock", str(found.kubeconfig)]


def test_a_user_s_own_engine_needs_no_docker_host(tmp_path: Path) -> None:
    assert "DOCKER_HOST" not in variables(settings(tmp_path), Engine("", own=False))
    assert "DOCKER_HOST" not in export_lines(settings(tmp_path), Engine("", own=False))


def test_our_folder_is_on_the_path_once(tmp_path: Path) -> None:
    found = settings(tmp_path)
    again = settings(tmp_path, PATH=f"{found.bin}:/usr/bin")
    assert variables(again, Engine("", own=False))["PATH"] == f"{found.bin}:/usr/bin"


def test_nothing_leads_the_client_away_from_our_own_engine(tmp_path: Path) -> None:
    misled = settings(tmp_path, DOCKER_CONTEXT="elsewhere", DOCKER_TLS_VERIFY="1", DOCKER_HOST="tcp://elsewhere")
    environment = Engine("unix:///run/x.sock", own=True).environment(misled)
    assert environment["DOCKER_HOST"] == "unix:///run/x.sock"
    assert not {"DOCKER_CONTEXT", "DOCKER_TLS_VERIFY"} & environment.keys()


@pytest.mark.parametrize(
    ("bounding", "missing"), [("000001fffeffffff", True), ("000001ffffffffff", False), ("0000000000000000", True)]
)
def test_a_withheld_capability_is_seen_in_the_bounding_set(bounding: str, missing: bool) -> None:
    assert withheld(f"Name:\tx\nCapBnd:\t{bounding}\n") is missing


def test_where_nothing_can_be_read_nothing_is_withheld() -> None:
    assert not withheld("")


def test_the_wrapper_around_runc_is_used_only_where_it_is_needed(tmp_path: Path) -> None:
    wrapper = tmp_path / "wrapper"
    plain, wrapped = (daemon_configuration(settings(tmp_path), path) for path in (None, wrapper))
    assert "default-runtime" not in plain
    assert "runtimes" not in plain
    assert wrapped["default-runtime"] == "runc-without-sys-resource"
    assert wrapped["runtimes"] == {"runc-without-sys-resource": {"path": str(wrapper)}}


def test_our_engine_writes_only_into_our_folders(tmp_path: Path) -> None:
    configuration = daemon_configuration(settings(tmp_path), None)
    folders = [configuration[name] for name in ("data-root", "exec-root", "pidfile")]
    assert all(str(folder).startswith(str(tmp_path)) for folder in folders)
    assert configuration["bridge"] == "none"


FILTER = """\
-P INPUT ACCEPT
-P FORWARD DROP
-N DOCKER
-N DOCKER-USER
-N MINE
-A FORWARD -j DOCKER-USER
-A FORWARD -o pinnace0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o eth1 -j MINE
-A DOCKER-USER -j RETURN
-A DOCKER -d 172.17.0.2/32 ! -i pinnace0 -o pinnace0 -p tcp -j ACCEPT
"""


def test_docker_s_rules_chains_and_policy_are_taken_back_and_others_left_alone() -> None:
    steps = firewall.undo("filter", FILTER.splitlines(), policy="ACCEPT")
    assert steps == [
        ["-t", "filter", *step.split()]
        for step in (
            "-D FORWARD -j DOCKER-USER",
            "-D FORWARD -o pinnace0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-F DOCKER",
            "-F DOCKER-USER",
            "-X DOCKER",
            "-X DOCKER-USER",
            "-P FORWARD ACCEPT",
        )
    ]


def test_only_docker_s_links_that_hang_on_no_bridge_are_strays() -> None:
    links = [{"ifname": "veth3272cd7"}, {"ifname": "veth0aaaaaa", "master": "br-1"}, {"ifname": "veth0"}]
    assert firewall.strays(json.dumps(links)) == ["veth3272cd7"]


def test_a_table_without_docker_is_left_as_it_is() -> None:
    assert firewall.undo("nat", ["-P PREROUTING ACCEPT", "-A POSTROUTING -o eth0 -j MASQUERADE"], policy="ACCEPT") == []


def test_the_version_is_the_one_that_go_mod_requires() -> None:
    version = kubernetes_version((MODULE / "go.mod").read_text())
    assert f"-X k8s.io/component-base/version.gitVersion={version} " in linker_flags(HELM, version)
    assert "-X k8s.io/component-base/version.gitMinor=34 " in linker_flags(HELM, "v1.34.4")
    assert linker_flags(KIND, version) == "-s -w"


def test_a_build_s_log_says_how_far_it_is() -> None:
    assert compiled("go: downloading a v1\ngo: downloading b v1\n") == "2 modules downloaded"
    assert compiled("go: downloading a v1\na/x\na/y\n") == "2 packages compiled"


def test_a_link_is_turned_in_one_step_whatever_it_was(tmp_path: Path) -> None:
    link = tmp_path / "bin/tool"
    for target in ("one", "two"):
        (tmp_path / target).touch()
        relink(link, tmp_path / target)
        assert link.resolve() == tmp_path / target
    assert [found.name for found in link.parent.iterdir()] == ["tool"]


def test_a_path_can_lack_one_folder() -> None:
    assert without("/a:/b:/a:/c", Path("/a")) == "/b:/c"


def test_a_pull_has_begun_when_the_registry_has_answered() -> None:
    assert not begun("")
    assert begun("v1: Pulling from kindest/node\n")
    assert refusal("Error response from daemon: no such host\n") == "no such host"


def test_durations_read_well() -> None:
    assert (duration(45), duration(200)) == ("45 s", "3:20 min")


def test_a_failing_command_gives_its_last_words_and_its_log(tmp_path: Path) -> None:
    with pytest.raises(ClusterError) as failed:
        commands(tmp_path).run(["sh", "-c", "echo first; echo why >&2; exit 3"], doing="a try", hint="try again")
    assert failed.value.what == "a try failed (exit code 3): why"
    assert failed.value.log is not None
    assert failed.value.log.read_text() == "first\nwhy\n"
    assert str(failed.value).splitlines()[1:] == ["What to do: try again", f"Log: {failed.value.log}"]


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no-such-program"):
        commands(tmp_path).answer("no-such-program")


def test_last_words_skip_empty_lines_and_overwritten_ones() -> None:
    assert last_words("one\n10%\r100%\n\n") == "100%"
    assert last_words("") == ""


def test_what_a_killed_run_left_is_ended_and_what_a_living_one_runs_is_not() -> None:
    mark = "PINNACE_TEST_STARTED_BY"
    dead = subprocess.Popen(["true"])
    dead_starter = Process.of(dead.pid) or Process(dead.pid, 1)
    dead.wait()
    orphan, child = (
        subprocess.Popen(SLEEPER, env={**ENVIRONMENT, mark: str(starter)})
        for starter in (dead_starter, Process.of(os.getpid()))
    )
    try:
        # the mark can be read only after exec
        started = [Path(f"/proc/{process.pid}/environ") for process in (orphan, child)]
        eventually(lambda: all(mark.encode() in file.read_bytes() for file in started))
        assert end_orphans(mark) == 1
        assert orphan.wait(10) == -signal.SIGTERM
        assert child.poll() is None
    finally:
        for process in (orphan, child):
            process.kill()
            process.wait()


def test_a_pid_that_was_given_away_is_not_the_same_process() -> None:
    this = Process.of(os.getpid())
    assert this is not None
    assert this.alive()
    assert not Process(this.pid, this.start + 1).alive()
    assert Process.parse(str(this)) == this
    assert Process.parse("12") is None


def test_a_holder_that_was_killed_is_told_from_one_at_work_and_from_one_that_has_left(tmp_path: Path) -> None:
    file = tmp_path / "cache" / "brought-up-by"
    holder = Holder(file)
    assert not holder.killed()
    script = "import pathlib, signal, sys\nfrom cluster.processes import Holder\n"
    script += "Holder(pathlib.Path(sys.argv[1])).enter()\nprint(flush=True)\nsignal.pause()"
    held = subprocess.Popen([sys.executable, "-c", script, str(file)], cwd=ROOT, stdout=subprocess.PIPE)
    with held:
        assert held.stdout is not None
        held.stdout.readline()
        assert not holder.killed()
        held.kill()
    assert holder.killed()
    holder.leave()
    assert not holder.killed()
