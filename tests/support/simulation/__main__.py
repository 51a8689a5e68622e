"""Worlds of one seed each.

    python -m support.simulation --seeds 1000 [--from 5000]     as many worlds, on every core
    python -m support.simulation --seed 42                      one of them again, with its trace
    python -m support.simulation --plant copy-not-synced        until a planted bug is found (`list` names them all)

Ends with 1 when a promise was broken; with a planted bug, when none was.
"""

import argparse
import logging
import multiprocessing
import sys
import time
from collections.abc import Iterator

from support.simulation.plants import PLANTS, SEARCHED, find
from support.simulation.world import Outcome, simulate

_CHUNK = 25
_SAY_EVERY_S = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="support.simulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, help="replay this one, with its trace")
    parser.add_argument("--seeds", type=int, metavar="COUNT", help="how many to try")
    parser.add_argument("--from", type=int, dest="first", metavar="SEED", help="the first of them (default 0)")
    parser.add_argument("--plant", metavar="NAME", choices=["list", *PLANTS], help="which bug to plant")
    arguments = parser.parse_args()
    logging.disable()
    if arguments.plant == "list":
        print("\n".join(f"{name:28} {plant.bug}" for name, plant in PLANTS.items()))
        return 0
    if arguments.plant:
        return _plant(arguments.plant, arguments.first, arguments.seeds or SEARCHED)
    if arguments.seed is not None:
        return _replay(arguments.seed)
    first = arguments.first or 0
    return _try(range(first, first + (arguments.seeds or 1000)))


def _replay(seed: int) -> int:
    outcome = simulate(seed, tracing=True)
    for line in outcome.trace:
        print(line)
    print(f"\nseed {seed}: {outcome.processes} processes, {outcome.steps} steps, {outcome.seconds:.0f} s of its time")
    for violation in outcome.violations:
        print(f"  VIOLATED {violation}")
    return 1 if outcome.violations else 0


def _plant(name: str, first: int | None, count: int) -> int:
    plant, first = PLANTS[name], first or 0
    print(f"planted: {plant.bug}")
    began = time.monotonic()
    found = find(plant, range(first, first + count))
    if found is None:
        print(f"not found by the {count} seeds from {first} on")
        return 1
    tried = found.seed - first + 1
    print(f"found by seed {found.seed}, the {tried}. that was tried, in {time.monotonic() - began:.1f} s")
    for violation in found.violations:
        print(f"  VIOLATED {violation}")
    return 0


def _try(seeds: range) -> int:
    began = said = time.monotonic()
    failed: list[int] = []
    for number, outcome in enumerate(_outcomes(seeds), start=1):
        if outcome.violations:
            failed.append(outcome.seed)
            print(f"seed {outcome.seed}: {outcome.violations[0]}", flush=True)
        now = time.monotonic()
        if now - said > _SAY_EVERY_S or number == len(seeds):
            said = now
            rate = number / (now - began)
            left = (len(seeds) - number) / rate
            print(f"{number} of {len(seeds)} seeds, {len(failed)} failed, {rate:.0f}/s, {left:.0f} s left", flush=True)
    for seed in sorted(failed):
        print(f"replay with: PYTHONPATH=tests python -m support.simulation --seed {seed}")
    return 1 if failed else 0


def _outcomes(seeds: range) -> Iterator[Outcome]:
    """In the order in which they come."""
    with multiprocessing.Pool() as pool:
        yield from pool.imap_unordered(simulate, seeds, chunksize=min(_CHUNK, len(seeds)))


if __name__ == "__main__":
    sys.exit(main())
