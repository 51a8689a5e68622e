"""`python -m pinnace.system_metrics -- COMMAND …`: become COMMAND, with a process beside it that samples.

Without the variables that `spec.metrics.system.enabled` sets, it is COMMAND and nothing else.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from pinnace.naming import ENV_SYSTEM_METRICS_FILE, ENV_SYSTEM_METRICS_SECONDS
from pinnace.system_metrics.cgroups import own_cgroup
from pinnace.system_metrics.gpus import own_gpus
from pinnace.system_metrics.sampling import Sampler, sample

_USAGE = "python -m pinnace.system_metrics -- COMMAND …"


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    """Returns only when there is no command, or none that can be run."""
    command = argv[1:] if argv[:1] == ["--"] else argv
    if not command:
        print(f"usage: {_USAGE}", file=sys.stderr)
        return 2
    file, seconds = environ.get(ENV_SYSTEM_METRICS_FILE, ""), environ.get(ENV_SYSTEM_METRICS_SECONDS, "")
    if file and seconds:
        _sample_beside(file, seconds)
    try:
        os.execvp(command[0], command)  # noqa: S606 - the training itself, as its image names it
    except OSError as error:
        # As a shell says it: 127 for a command that is not there.
        print(f"pinnace: {command[0]} can't be run: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126


def _sample_beside(file: str, seconds: str) -> None:
    """Start a process that samples for as long as this one lives, whatever becomes of this one."""
    training = os.getpid()
    try:
        if os.fork():
            return
    except OSError as error:
        print(f"pinnace: no system metrics: {error}", file=sys.stderr)
        return
    try:
        os.setsid()  # a signal to the training's group is not for us
        sample(Sampler(own_cgroup(), own_gpus()), Path(file), float(seconds), training)
    except Exception as error:  # noqa: BLE001 - a training is not told of it by an exit code
        print(f"pinnace: no system metrics from here on: {error!r}", file=sys.stderr, flush=True)
    finally:
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
