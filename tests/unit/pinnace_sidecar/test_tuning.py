"""In which pieces a file goes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.stores.store import MAX_PARTS, MIN_PART_BYTES
from pinnace_sidecar.settings import Tuning

MIB = 2**20
TIB = 2**40


@pytest.mark.parametrize(
    ("size", "part_size"),
    [
        (0, 1),
        (1, 1),
        (32 * MIB - 1, 32 * MIB - 1),
        (32 * MIB, 16 * MIB),
        (100 * MIB, 16 * MIB),
        (16 * MIB * MAX_PARTS, 16 * MIB),
        (16 * MIB * MAX_PARTS + 1, 17 * MIB),
        (5 * TIB, 525 * MIB),
    ],
)
def test_a_file_goes_in_one_piece_or_in_parts_of(size: int, part_size: int) -> None:
    assert Tuning().part_size(size, MAX_PARTS) == part_size


@given(st.integers(0, 5 * TIB))
def test_ten_thousand_parts_are_always_enough(size: int) -> None:
    tuning = Tuning()
    part_size = tuning.part_size(size, MAX_PARTS)
    assert size <= part_size * MAX_PARTS
    assert size < tuning.multipart_bytes or part_size >= MIN_PART_BYTES
