"""Sets of iteration indexes in the compact writing of Kubernetes' Indexed Jobs: `0-3,7`."""

from collections.abc import Iterable


class IndexSet(frozenset[int]):
    """A set of indexes that can be written into a status field; a thousand of them stay below 8 KiB."""

    @classmethod
    def from_text(cls, text: str) -> "IndexSet":
        """Raises ValueError for anything but `str(IndexSet)`. The empty text is the empty set."""
        indexes: set[int] = set()
        for part in filter(None, text.split(",")):
            first, _, last = part.partition("-")
            indexes.update(range(int(first), int(last or first) + 1))
        return cls(indexes)

    def __str__(self) -> str:
        return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in _runs(self))

    def with_all(self, indexes: Iterable[int]) -> "IndexSet":
        return IndexSet(self.union(indexes))


def _runs(indexes: Iterable[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][1] == index - 1:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((index, index))
    return runs
