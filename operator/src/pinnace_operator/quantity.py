"""Kubernetes quantities as whole numbers: `512Mi`, `1.5G`, `1e9`, 1024."""

import re
from decimal import ROUND_CEILING, Decimal
from typing import Final

_SUFFIXES: Final = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    **{letter: Decimal(10 ** (3 * power)) for power, letter in enumerate("MGTPE", 2)},
    **{f"{letter}i": Decimal(2 ** (10 * power)) for power, letter in enumerate("KMGTPE", 1)},
}
_QUANTITY: Final = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?P<suffix>[mkMGTPE]?|[KMGTPE]i)"
)


def to_bytes(quantity: int | str) -> int:
    """The number of bytes, rounded up. Raises ValueError when it isn't a quantity."""
    match = _QUANTITY.fullmatch(str(quantity))
    if match is None:
        raise ValueError(f"{quantity!r} is not a Kubernetes quantity like 512Mi")
    return int((Decimal(match["number"]) * _SUFFIXES[match["suffix"]]).to_integral_value(ROUND_CEILING))
