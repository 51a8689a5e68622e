"""Random values that are the same for ever: on every machine, with every version of Python, whatever `count` is.

The value of a parameter depends on the seed, the iteration's index and the parameter's name alone. The SHA-256 of
`["pinnace random 1", seed, index, name]`, as compact JSON in UTF-8, read as one big-endian number N, is the fraction
N / 2^256 of the way through the values: of choices and integers the one that lies there, of a range the point (its top
53 bits, so that it is exact). Logarithms and powers are taken in decimal arithmetic of 28 digits, which rounds
correctly everywhere; what mathematics libraries do in the last digit differs.
"""

import decimal
import hashlib
from decimal import Decimal
from typing import Final

import msgspec

from pinnace_operator.search.spaces import Choices, Floats, Integers, Space, Values
from pinnace_operator.search.values import Combination, Scalar

GENERATOR: Final = "pinnace random 1"

_BITS: Final = 256
_FRACTION_BITS: Final = 53
_DECIMAL: Final = decimal.Context(prec=28, rounding=decimal.ROUND_HALF_EVEN)


def draw(space: Space, seed: int, index: int) -> Combination:
    """The parameters of iteration `index`."""
    return {name: _drawn(values, number_of(seed, index, name)) for name, values in space.items()}


def number_of(seed: int, index: int, name: str) -> int:
    """256 bits that look random."""
    digest = hashlib.sha256(msgspec.json.encode([GENERATOR, seed, index, name])).digest()
    return int.from_bytes(digest, "big")


def _drawn(values: Values, number: int) -> Scalar:
    match values:
        case Choices():
            return values.values[number * len(values.values) >> _BITS]
        case Integers():
            return values.low + (number * values.count >> _BITS) * values.step
        case Floats():
            return _between(values, number >> (_BITS - _FRACTION_BITS))


def _between(values: Floats, fraction: int) -> float:
    low, high = Decimal(values.low), Decimal(values.high)
    share = _DECIMAL.divide(Decimal(fraction), Decimal(2**_FRACTION_BITS))
    if values.log:
        low, high = _DECIMAL.ln(low), _DECIMAL.ln(high)
    point = _DECIMAL.add(low, _DECIMAL.multiply(share, _DECIMAL.subtract(high, low)))
    found = float(_DECIMAL.exp(point) if values.log else point)
    # The last digit of a logarithm may lead just outside.
    return min(max(found, values.low), values.high)
