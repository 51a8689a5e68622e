"""`python -m bench`: measure, write the results, bring docs/benchmarks.md up to date."""

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from bench import report
from bench.contestants import ROOT
from bench.facts import facts
from bench.harness import say, write_rows
from bench.servers import PEERS, Missing
from bench.table import Table, Wishes

_NEEDED_BYTES = 30 * 10**9
#: What is compared → the modules of its tables. Each is imported when it is wanted: some need what others don't.
SUBJECTS = {
    "uploads": ("limits", "uploads", "tls", "sidecar", "idle", "writer"),
    "api": ("api",),
    "operator": ("operator",),
}
#: The others measure us alone.
WITH_PEERS = ("uploads", "api")


def main(arguments: list[str]) -> int:
    """Exit code 2: something that is needed is missing, and said."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("subject", nargs="?", choices=SUBJECTS, default="uploads", help="what is compared (uploads)")
    parser.add_argument("--quick", action="store_true", help="smaller sets, two rounds, no change to the document")
    parser.add_argument("--rounds", type=int, help="how often each is measured (default 5, quick 2)")
    parser.add_argument("--only", nargs="+", metavar="TABLE", help="these tables only")
    parser.add_argument("--results", type=Path, help="a JSON file (default: below build/)")
    wished = parser.parse_args(arguments)
    subject = wished.subject
    known: list[Table] = [table for name in SUBJECTS[subject] for table in import_module(f"bench.table_{name}").TABLES]
    tables = [table for table in known if table.name in (wished.only or [table.name])]
    if missing := {*(wished.only or ())} - {table.name for table in tables}:
        parser.error(f"{subject} has no table {', '.join(sorted(missing))}")
    results = wished.results or ROOT / f"build/bench-{subject}{'-quick' if wished.quick else ''}.json"
    rounds = wished.rounds or (2 if wished.quick else 5)
    load = os.getloadavg()[0]
    if platform.system() != "Linux" or (subject in WITH_PEERS and not PEERS.is_dir()):
        say("the peers are missing: `make bench` makes their environment (Linux only)")
        return 2
    scratch = Path(tempfile.mkdtemp(prefix="pinnace-bench-"))
    try:
        if shutil.disk_usage(scratch).free < _NEEDED_BYTES:
            say(f"{scratch.parent} needs {_NEEDED_BYTES // 10**9} GB of room")
            return 2
        wishes = Wishes(quick=wished.quick, rounds=rounds, scratch=scratch)
        for table in tables:
            say(f"--- {table.name}")
            rows = table.measure(wishes)
            write_rows(results, rows, facts(subject, rounds=rounds, quick=wished.quick, load=load))
    except Missing as error:
        say(str(error))
        return 2
    finally:
        shutil.rmtree(scratch)
    if wished.quick:
        sys.stdout.write(report.text(results, subject))
    else:
        report.fill(results, subject, ROOT / "docs/benchmarks.md")
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    # Asked to end, it still ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
