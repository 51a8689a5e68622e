"""What an import tells of itself."""

from typing import NamedTuple

import msgspec


class Imported(msgspec.Struct, kw_only=True):
    """How many were new. `present`: iterations that had ended here before.

    `renumbered`: iterations and versions that have another number than where they come from. `left_out`: runs and
    experiments that were deleted there.
    """

    project: str
    dry_run: bool = False
    experiments: int = 0
    iterations: int = 0
    present: int = 0
    points: int = 0
    artifacts: int = 0
    bytes: int = 0
    datasets: int = 0
    models: int = 0
    versions: int = 0
    renumbered: int = 0
    left_out: int = 0
    problems: int = 0


class Step(NamedTuple):
    """How far it has come."""

    iterations: int
    bytes: int
