"""The environment in which kubectl, helm, kind and docker mean this cluster, for shells and for programs."""

import os
import shlex

from cluster.engine import Engine
from cluster.programs import without
from cluster.settings import Settings


def variables(settings: Settings, engine: Engine | None = None) -> dict[str, str]:
    """What a child process gets on top of the environment."""
    path = without(settings.environment.get("PATH", ""), settings.bin)
    found = {"PATH": f"{settings.bin}{os.pathsep}{path}", "KUBECONFIG": str(settings.kubeconfig)}
    return found | ({"DOCKER_HOST": engine.host} if engine and engine.host else {})


def export_lines(settings: Settings, engine: Engine) -> str:
    """Lines for `eval "$(python3 -m cluster tools)"`; the shell's own PATH follows ours."""
    values = variables(settings, engine)
    lines = [f'export PATH={shlex.quote(str(settings.bin))}:"$PATH"']
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(values.items()) if name != "PATH"]
    return "\n".join(lines)
