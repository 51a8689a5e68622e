"""`python -m pinnace_api` serves; `… openapi` prints the API's description, `… db copy` copies a database."""

import os
import sys
from collections.abc import Sequence

import uvicorn

from pinnace.settings import SettingsError
from pinnace_api import copy_command, logs, maintenance_command, migrations, openapi, serving
from pinnace_api.app import create_app, database_of
from pinnace_api.identity import NoKubernetes, TokenReviewer
from pinnace_api.migrations import WrongDatabase
from pinnace_api.refusals import Unavailable
from pinnace_api.settings import ApiSettings

#: Requests under way get this long when the process is asked to end; Kubernetes gives 30 s.
_GRACE_SECONDS = 20


def main(arguments: Sequence[str]) -> int:
    """Exit codes: 2 wrong settings or arguments, 3 the start failed; a signal that ends it is its end."""
    if list(arguments) == ["openapi"]:
        sys.stdout.write(openapi.document(create_app(ApiSettings(), reviewer=NoKubernetes())))
        return 0
    match list(arguments):
        case []:
            return _serve()
        case ["db", "copy", *rest]:
            return copy_command.main(rest)
        case ["artifacts", *rest]:
            logs.configure("warning")
            return maintenance_command.main(rest, os.environ)
    sys.stderr.write("usage: python -m pinnace_api [openapi | db copy … | artifacts …]\n")
    return 2


def _serve() -> int:
    try:
        settings = ApiSettings.from_env(os.environ)
        settings.check_surroundings()
        reviewer = _reviewer(settings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.configure(settings.log_level)
    if refusal := _refusal_to_start(settings):
        sys.stderr.write(f"{refusal}\n")
        return 3
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings, reviewer=reviewer),
            host=settings.host,
            port=settings.port,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            **serving.options(settings),
        )
    )
    server.run()
    return 0 if server.started else 3


def _refusal_to_start(settings: ApiSettings) -> str:
    """Brings the tables up to date; why that can't be, in a sentence.

    The application's own start does the same, and finds nothing to do; but there a failure would be a traceback.
    """
    database = database_of(settings)
    try:
        migrations.upgrade(database)
    except WrongDatabase as error:
        return str(error)
    except Unavailable as error:
        return f"{error.detail} ({error.hint})"
    finally:
        database.close()
    return ""


def _reviewer(settings: ApiSettings) -> TokenReviewer:
    if not settings.kubernetes:
        return NoKubernetes()
    from kubernetes.config import ConfigException  # noqa: PLC0415 - large, and only needed here

    from pinnace_api.cluster import KubernetesReviewer  # noqa: PLC0415

    try:
        return KubernetesReviewer.from_surroundings()
    except ConfigException as error:
        raise SettingsError(
            f"PINNACE_API_KUBERNETES is on, but there is no Kubernetes to ask: {error}",
            hint="run in a pod with a service account, or switch it off",
        ) from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
