"""The command line: `python3 -m cluster VERB`."""

import argparse
import json
import signal
import sys
from types import FrameType

from cluster import images
from cluster.errors import ClusterError, Exit
from cluster.progress import Progress
from cluster.session import Session
from cluster.settings import Settings
from cluster.shell import export_lines

EPILOG = """
variables:
  PINNACE_NODE_IMAGE   published | built | IMAGE; chooses by itself when unset
  PINNACE_BASE_IMAGE   the same, for the base of the product's images
  XDG_CACHE_HOME       where programs, images and logs are kept (~/.cache)

exit codes:
  0 done   1 a step failed   2 wrong usage   3 something is missing that can't be brought along
  4 there is no cluster   130 interrupted; `run` ends with its command's code
"""


def parser() -> argparse.ArgumentParser:
    """The verbs and their flags."""
    top = argparse.ArgumentParser(
        prog="python3 -m cluster",
        description="A kind cluster, and everything that it needs, brought along where it is missing.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("up", help="bring the cluster up and wait until it is ready; does nothing when it is")
    down = verbs.add_parser("down", help="remove it and all that was started for it, also after a crash")
    down.add_argument("--quiet", action="store_true", help="say nothing unless it fails")
    load = verbs.add_parser("images", help="build the images that are out of date and load them into the node")
    load.add_argument("name", nargs="*", help=f"which ones ({', '.join(images.ALL)}); all when none is named")
    load.add_argument("--build-only", action="store_true", help="leave them in the engine; no cluster is needed")
    run = verbs.add_parser("run", help="run a command with the cluster up, the images loaded and the tools on the PATH")
    run.add_argument("--no-cluster", action="store_true", help="only the tools, and the programs that tests start")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND …")
    tools = verbs.add_parser("tools", help='print the tools\' environment, for eval "$(…)"')
    tools.add_argument("--json", action="store_true", help="as a JSON object")
    status = verbs.add_parser("status", help="say what is up")
    status.add_argument("--json", action="store_true", help="as a JSON object")
    verbs.add_parser("minio-binary", help="print the path of MinIO's server, building it when it is missing")
    verbs.add_parser(
        "postgres-binary", help="print the path of PostgreSQL's server, installing Debian's when it is missing"
    )
    verbs.add_parser("kube-binary", help="print the path of Kubernetes' parts in one program, building it when missing")
    verbs.add_parser("definitions", help="print the folder of other operators' CRDs, downloading it when missing")
    return top


def main(argv: list[str]) -> int:
    """Do what the command line asks; returns the exit code."""
    asked = parser().parse_args(argv)
    session = Session(Settings.from_environment(), Progress(quiet=getattr(asked, "quiet", False)))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return _do(asked, session)
    except ClusterError as error:
        print(f"\ncluster {asked.verb}: {error}", file=sys.stderr)
        return error.code
    except OSError as error:
        print(
            f"\ncluster {asked.verb}: {error}\nWhat to do: see whether the disk is full or the file missing",
            file=sys.stderr,
        )
        return Exit.FAILED
    except KeyboardInterrupt:
        print(f"\ncluster {asked.verb}: interrupted; `python3 -m cluster down` removes what is left", file=sys.stderr)
        return Exit.INTERRUPTED


def _do(asked: argparse.Namespace, session: Session) -> int:
    match asked.verb:
        case "up":
            session.up()
        case "down":
            session.down()
        case "images":
            (session.build if asked.build_only else session.images)(_image_names(asked.name))
        case "run":
            command = asked.command[1:] if asked.command[:1] == ["--"] else asked.command
            if not command:
                raise ClusterError(
                    "there is no command to run", hint="python3 -m cluster run -- COMMAND", code=Exit.USAGE
                )
            return session.run_without_cluster(command) if asked.no_cluster else session.run(command, images.ALL)
        case "tools":
            engine, variables = session.environment()
            print(json.dumps(variables, indent=2) if asked.json else export_lines(session.settings, engine))
        case "status":
            told = session.status()
            print(
                json.dumps(told, indent=2)
                if asked.json
                else "\n".join(f"{name}: {value}" for name, value in told.items())
            )
            return Exit.DONE if told["cluster"] == "up" else Exit.DOWN
        case product:
            products = {
                "minio-binary": session.minio_binary,
                "postgres-binary": session.postgres_binary,
                "kube-binary": session.kube_binary,
                "definitions": session.definitions,
            }
            print(products[product]())
    return Exit.DONE


def _image_names(names: list[str]) -> tuple[str, ...]:
    if unknown := sorted({*names} - {*images.ALL}):
        raise ClusterError(
            f"there is no image called {', '.join(unknown)}",
            hint=f"choose from {', '.join(images.ALL)}",
            code=Exit.USAGE,
        )
    return tuple(names) or images.ALL


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
