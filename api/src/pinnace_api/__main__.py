"""`python -m pinnace_api` serves, in a pod; other words run the commands that `pinnace` leaves to this package."""

import os
import sys
from collections.abc import Sequence

from pinnace_api import copy_command, logs, maintenance_command, openapi, server_command
from pinnace_api.app import create_app
from pinnace_api.identity import NoKubernetes
from pinnace_api.settings import ApiSettings


def main(arguments: Sequence[str]) -> int:
    """Exit codes: 2 wrong settings or arguments, 3 the start failed; others are the command's."""
    match list(arguments):
        case ["openapi"]:
            sys.stdout.write(openapi.document(create_app(ApiSettings(), reviewer=NoKubernetes())))
            return 0
        case ["db", "copy", *rest]:
            return copy_command.main(rest)
        case ["artifacts", *rest]:
            logs.configure("warning")
            return maintenance_command.main(rest, os.environ)
        case ["server", *rest]:
            return server_command.main(rest, os.environ, at_home=True)
        case [] | [_, *_] as rest if all(each.startswith("-") for each in rest[:1]):
            return server_command.main(rest, os.environ, at_home=False)
    sys.stderr.write("usage: python -m pinnace_api [OPTIONS | server … | openapi | db copy … | artifacts …]\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
