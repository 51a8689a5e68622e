"""What we ask of a Docker engine, whoever runs it, by its command line."""

import contextlib
import json
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.commands import Commands, last_words, text_of
from cluster.waiting import until

#: Seconds after which a registry that has not answered counts as out of reach.
PULL_TEST_S = 15.0
#: `docker pull` prints one of these once the registry has answered.
PULL_BEGINS = ("Pulling from", "Pulling fs layer", "Downloading", "Digest:", "Status:")
#: The label that says what an image was made from.
INPUTS_LABEL = "pinnace.dev/inputs"


@dataclass(frozen=True, slots=True)
class Docker:
    """An engine; `commands` carry its DOCKER_HOST."""

    commands: Commands

    def image_id(self, image: str) -> str | None:
        """`sha256:…`, or None when the engine doesn't have it."""
        return self.commands.try_answer("docker", "image", "inspect", "--format", "{{.Id}}", image)

    def has(self, image: str) -> bool:
        """Whether the engine has the image already."""
        return self.image_id(image) is not None

    def inputs(self, image: str) -> str | None:
        """The key of what the image was made from; None when it isn't there or says nothing."""
        text = self.commands.try_answer("docker", "image", "inspect", "--format", "{{json .Config.Labels}}", image)
        return (json.loads(text) or {}).get(INPUTS_LABEL) if text else None

    def pull(self, image: str) -> str:
        """Pull an image. Returns "" when it is there, else why not; a registry gets PULL_TEST_S to begin answering."""
        commands = self.commands
        commands.progress.say(f"asking whether Docker can pull {short(image)}")
        log = commands.logs / "docker-pull.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["docker", "pull", image], env=commands.environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            try:
                began = until(
                    lambda: process.poll() is not None or begun(text_of(log)), timeout_s=PULL_TEST_S, interval_s=0.1
                )
                if not began:
                    return f"no answer from the registry within {PULL_TEST_S:.0f} s"
                while process.poll() is None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(15.0)
                        break
                    commands.progress.say(f"  … pulling: {last_words(text_of(log))[:100]}")
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                    process.wait()
        return "" if process.returncode == 0 else refusal(text_of(log))

    def import_root(self, root: Path, image: str) -> None:
        """Make an image of a root's tar file."""
        self.commands.run(["docker", "import", root, image], doing=f"importing {short(image)}", hint="see the log")

    def build(self, image: str, context: Path, *, inputs: str, arguments: Mapping[str, str] | None = None) -> None:
        """Build the Dockerfile in `context`, without any network, and label the image with `inputs`."""
        given = [word for name, value in (arguments or {}).items() for word in ("--build-arg", f"{name}={value}")]
        self.commands.run(
            [
                "docker", "build", "--network=none", f"--tag={image}", f"--label={INPUTS_LABEL}={inputs}",
                *given, context,
            ],
            doing=f"building the image {short(image)}",
            hint="see the log for the step that failed",
        )  # fmt: skip


def begun(log: str) -> bool:
    """Whether the registry has answered, by what `docker pull` has printed."""
    return any(words in log for words in PULL_BEGINS)


def refusal(log: str) -> str:
    """Why a pull failed, in Docker's own words without its preamble."""
    return last_words(log).removeprefix("Error response from daemon: ") or "docker pull failed without a word"


def short(image: str) -> str:
    """An image's name without its digest."""
    return image.partition("@")[0]
