"""The verbs: what `python3 -m cluster` does, step by step."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

from cluster import debian, definitions, engine, kind
from cluster.cache import Cache
from cluster.choice import Origin
from cluster.commands import Commands, end_orphans
from cluster.docker import Docker
from cluster.engine import Engine, OwnEngine
from cluster.errors import ClusterError, Exit
from cluster.images import Images
from cluster.kind import Kind
from cluster.node_image import NodeImages
from cluster.processes import Holder
from cluster.programs import HELM, KIND, KUBE, KUBECTL, MINIO, Programs
from cluster.progress import Progress
from cluster.settings import NODE_IMAGE_VARIABLE, Settings
from cluster.shell import variables
from cluster.waiting import until

#: How long the layers of older builds stay, which make the next build quick.
KEPT_LAYERS = "24h"
#: Seconds that an interrupted command gets to end by itself.
LAST_WORDS_S = 15.0
#: Seconds that a node gets to come back when its container was restarted.
COME_BACK_S = 60.0


@dataclass(frozen=True)
class Session:
    """One call of a verb: settings, a clock, and the programs found so far."""

    settings: Settings
    progress: Progress

    @cached_property
    def cache(self) -> Cache:
        def waiting(name: str, holder: str) -> None:
            self.progress.say(f"waiting for another run (pid {holder or 'unknown'}) that is at work on {name}")

        return Cache(self.settings.cache, waiting)

    @cached_property
    def commands(self) -> Commands:
        return Commands(progress=self.progress, environment=self.settings.environment, logs=self.settings.logs)

    @cached_property
    def programs(self) -> Programs:
        return Programs(settings=self.settings, cache=self.cache, commands=self.commands)

    @property
    def _run(self) -> Holder:
        """Who brought the cluster up for one command; like the cluster, it is still known after a restart."""
        return Holder(self.settings.cache / "brought-up-by")

    def up(self) -> bool:
        """Bring the cluster up unless it is; returns whether it had to. Raises ClusterError."""
        with self.cache.lock("cluster"):
            self._tidy()
            found = engine.ensure(self.settings, self.commands)
            cluster = self._kind(found)
            self.settings.state.mkdir(parents=True, exist_ok=True)
            if cluster.exists():
                if self._run.killed():
                    self.progress.say("removing the cluster of a run that was killed, with whatever that left in it")
                elif until(cluster.healthy, timeout_s=COME_BACK_S):
                    cluster.settle()
                    self.programs.tool(HELM)
                    self._say_up(cluster, "the cluster is up already")
                    return False
                else:
                    self.progress.say("removing a cluster that does not answer: half made, or broken")
                cluster.delete()
            self._run.leave()
            image = self._node_image(found)
            self.programs.tool(HELM)
            self.progress.say("creating the cluster (about half a minute)")
            try:
                cluster.create(image, own_engine=found.own)
            except ClusterError:
                cluster.delete()
                raise
            self._say_up(cluster, "the cluster is up")
            return True

    def down(self) -> None:
        """Remove the cluster and whatever else was brought up for it, also after a crash. Programs stay cached."""
        with self.cache.lock("cluster"):
            self._tidy()
            own = OwnEngine(self.settings, self.commands)
            if own.running() is not None or own.leftovers():
                self._empty(own)
            elif (found := engine.find(self.settings, self.commands)) is not None:
                if nodes := kind.delete(self.settings, self._commands_for(found)):
                    self.progress.say(f"removed {nodes} node")
            elif self.settings.kubeconfig.exists():
                raise ClusterError(
                    "the Docker engine that holds the cluster does not answer",
                    hint="start it and try again",
                    code=Exit.MISSING,
                )
            own.stop()
            self._run.leave()
            shutil.rmtree(self.settings.state, ignore_errors=True)
            self.progress.say("the cluster is down")

    def build(self, names: Sequence[str]) -> list[str]:
        """Build these images where they are out of date, for the engine itself; no cluster is needed."""
        with self.cache.lock("cluster"):
            commands = self._commands_for(engine.ensure(self.settings, self.commands))
            images = self._images(commands).build(names)
            self.progress.say(f"images in the engine: {', '.join(images)}")
            return images

    def images(self, names: Sequence[str]) -> list[str]:
        """Build these images where they are out of date and load them where the node lacks them."""
        with self.cache.lock("cluster"):
            found, cluster = self._running()
            commands = self._commands_for(found)
            docker = Docker(commands)
            images = self._images(commands).build(names)
            missing = [image for image in images if docker.image_id(image) not in cluster.loaded(image)]
            if missing:
                self.progress.say(f"loading {', '.join(missing)} into the node")
                cluster.load(missing)
            self.progress.say(f"images in the node: {', '.join(images)}")
            return images

    def _images(self, commands: Commands) -> Images:
        return Images(
            settings=self.settings,
            cache=self.cache,
            commands=commands,
            docker=Docker(commands),
            programs=self.programs,
        )

    def environment(self) -> tuple[Engine, dict[str, str]]:
        """The engine, and the variables by which tools find the cluster. Raises ClusterError when it is down."""
        found, _ = self._running()
        return found, variables(self.settings, found)

    def run(self, command: Sequence[str], names: Sequence[str]) -> int:
        """Run a command with the cluster up and the images loaded; take down what had to be brought up for it."""
        brought = self.up()
        try:
            if brought:
                self._run.enter()
            self.images(names)
            _, extra = self.environment()
            return _call(command, {**self.settings.environment, **self._servers(), **extra})
        finally:
            if brought:
                replace(self, progress=replace(self.progress, quiet=True)).down()

    def run_without_cluster(self, command: Sequence[str]) -> int:
        """Run a command with the tools on the PATH, whether or not the cluster is up."""
        servers = self._servers()
        for program in (KUBECTL, HELM):
            self.programs.tool(program)
        return _call(command, {**self.settings.environment, **servers, **variables(self.settings)})

    def _servers(self) -> dict[str, str]:
        """Where tests find what they start servers of their own from, outside the cluster."""
        return {
            "PINNACE_MINIO": self.minio_binary(),
            "PINNACE_POSTGRES": self.postgres_binary(),
            "PINNACE_KUBE": self.kube_binary(),
            "PINNACE_DEFINITIONS": self.definitions(),
        }

    def status(self) -> dict[str, str]:
        """What is there, in words; `cluster` is `up`, `broken` or `down`. Builds and starts nothing."""
        found = engine.find(self.settings, self.commands)
        if found is None:
            return {"cluster": "down", "engine": "none answers"}
        told = {"cluster": "down", "engine": "our own" if found.own else "yours", "docker_host": found.host}
        if not self._tools_there():
            return told
        cluster = self._kind(found)
        if cluster.exists():
            told["cluster"] = "up" if cluster.healthy() else "broken"
            told["node_image"] = cluster.node_image()
            told["kubeconfig"] = str(self.settings.kubeconfig)
        return told

    def minio_binary(self) -> str:
        """The path of MinIO's server, built when it is missing."""
        return str(self.programs.built(MINIO))

    def kube_binary(self) -> str:
        """The path of the program that holds Kubernetes' parts, built when it is missing."""
        return str(self.programs.built(KUBE))

    def definitions(self) -> str:
        """The folder with the definitions of other operators' kinds, downloaded when it is missing."""
        return str(definitions.folder(self.cache, self.commands))

    def postgres_binary(self) -> str:
        """The path of PostgreSQL's server: that on the PATH, else Debian's, installed if need be."""
        if theirs := shutil.which("postgres", path=self.settings.environment.get("PATH", "")):
            return theirs
        if debian.postgres() is None:
            debian.install(self.commands, "postgresql")
        found = debian.postgres()
        if found is None:
            raise ClusterError(
                "Debian's package postgresql is installed, and there is no server in it",
                hint="apt-get install --reinstall postgresql",
                code=Exit.MISSING,
            )
        return str(found)

    def _tools_there(self) -> bool:
        path = f"{self.settings.bin}{os.pathsep}{self.settings.environment.get('PATH', '')}"
        return all(shutil.which(program.name, path=path) for program in (KIND, KUBECTL))

    def _running(self) -> tuple[Engine, Kind]:
        found = engine.find(self.settings, self.commands)
        if found is not None and self._tools_there() and (cluster := self._kind(found)).exists():
            return found, cluster
        raise ClusterError("there is no cluster", hint="`python3 -m cluster up` (or `make cluster-up`)", code=Exit.DOWN)

    def _commands_for(self, found: Engine) -> Commands:
        return replace(self.commands, environment=found.environment(self.settings))

    def _kind(self, found: Engine) -> Kind:
        return Kind(
            settings=self.settings,
            commands=self._commands_for(found),
            programs=self.programs,
        )

    def _node_image(self, found: Engine) -> str:
        commands = self._commands_for(found)
        images = NodeImages(
            settings=self.settings, cache=self.cache, commands=commands, docker=Docker(commands), programs=self.programs
        )
        choice = images.ensure(withheld=found.own and engine.withheld())
        if choice.origin is not Origin.BUILT:
            self.progress.say(f"node image: {choice.image.partition('@')[0]}, because {choice.why}")
        return choice.image

    def _say_up(self, cluster: Kind, text: str) -> None:
        image = cluster.node_image()
        wish = self.settings.node_image
        self.progress.say(f"{text} (node image {image.partition('@')[0]})")
        if (wish == "built") != image.startswith("pinnace/node:") and wish in ("built", "published"):
            self.progress.say(f"{NODE_IMAGE_VARIABLE}={wish} takes effect for the next cluster: `down` first")

    def _empty(self, own: OwnEngine) -> None:
        """Remove every container, volume and network of our own engine; its images stay for the next time."""
        try:
            commands = self._commands_for(own.start())
            kind.delete(self.settings, commands)
            if left := commands.answer("docker", "ps", "--all", "--quiet").split():
                commands.answer("docker", "rm", "--force", "--volumes", *left, timeout_s=120)
            for kept in ("network", "volume"):
                commands.answer("docker", kept, "prune", "--force", timeout_s=120)
            commands.answer("docker", "image", "prune", "--force", f"--filter=until={KEPT_LAYERS}", timeout_s=120)
        except ClusterError as error:
            self.progress.say(f"our engine could not be emptied, so it is ended as it is: {error.what}")

    def _tidy(self) -> None:
        """Take away what a run that was killed has left; we hold the lock, so there is no such run any more."""
        if ended := end_orphans():
            self.progress.say(f"ended {ended} processes of a run that was killed")
        if swept := self.cache.sweep():
            self.progress.say(f"removed {swept} unfinished folders of a run that was killed")
        if debian.can_install():
            debian.remove_policy()


def _call(command: Sequence[str], environment: dict[str, str]) -> int:
    """Run a command on our terminal; an interrupt leaves it time to say its last words."""
    try:
        process = subprocess.Popen(list(command), env=environment)
    except FileNotFoundError as missing:
        raise ClusterError(f"{command[0]} is not on the PATH", hint="check the command", code=Exit.USAGE) from missing
    try:
        return process.wait()
    except KeyboardInterrupt:
        for end in (process.terminate, process.kill, process.wait):
            with suppress(subprocess.TimeoutExpired):  # Ctrl-C has reached it as well: it may be ending already
                process.wait(LAST_WORDS_S)
            if process.poll() is None:
                end()
        raise
