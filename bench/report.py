"""Results as Markdown: `python -m bench.report RESULTS DOCUMENT` replaces what stands between a table's marks.

<!-- begin uploads --> … <!-- end uploads -->
"""

import sys
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from statistics import median

from bench.harness import Row, read_rows
from bench.sets import GIB, MIB


def fill(results: Path, document: Path) -> None:
    """Write every table that the results have into its place. ValueError for one without a place."""
    text = document.read_text(encoding="utf-8")
    for name, table in _tables(results).items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        above, _, rest = text.partition(begin)
        _, found, below = rest.partition(end)
        if not found:
            raise ValueError(f"{document.name} has no place for the table {name}")
        text = f"{above}{begin}\n{table}\n{end}{below}"
    document.write_text(text, encoding="utf-8")


def text(results: Path) -> str:
    """All tables, one below the other."""
    return "\n".join(f"## {name}\n\n{table}" for name, table in _tables(results).items())


def _tables(results: Path) -> dict[str, str]:
    rows, facts = read_rows(results)
    tables = {"facts": _table(("what", "value"), [(name, value) for name, value in facts.items()])}
    for name, mine in groupby(rows, key=lambda row: row.table):
        tables[name] = _RENDERERS.get(name, _uploads)(list(mine))
    return tables


def _uploads(rows: list[Row]) -> str:
    """Cheapest first: CPU decides, because the servers and clients share the cores."""
    texts = []
    for group, some in groupby(rows, key=lambda row: row.group):
        mine = sorted(some, key=lambda row: row.median(lambda cost: cost.cpu) if row.costs else 1e9)
        per_file = mine[0].size / mine[0].files < MIB
        unit = "CPU µs a file, median (min)" if per_file else "CPU s/GiB, median (min)"
        lines = [
            (
                row.name,
                *_cpu(row),
                f"{row.median(lambda c: c.wall):.2f}",
                f"{row.median(lambda c: c.peak_kib) / 1024:.0f}",
            )
            if row.costs
            else (row.name, f"failed: {row.failure}", "", "", "")
            for row in mine
        ]
        texts.append(
            f"**{group}**\n\n{_table(('client', unit, 'of it user + system, s', 'wall s', 'peak MiB'), lines)}"
        )
    return "\n".join(texts)


def _cpu(row: Row) -> tuple[str, str]:
    per_file = row.size / row.files < MIB
    share = 1e6 / row.files if per_file else GIB / row.size
    digits = 0 if per_file else 2
    median, least = row.median(lambda cost: cost.cpu) * share, row.least(lambda cost: cost.cpu) * share
    parts = f"{row.median(lambda cost: cost.user):.2f} + {row.median(lambda cost: cost.system):.2f}"
    return f"{median:.{digits}f} ({least:.{digits}f})", parts


def _sidecar(rows: list[Row]) -> str:
    heads = ("store", "files", "CPU s, median (min)", "a file, µs", "a GiB, s", "wall s", "files/s", "peak MiB")
    lines = []
    for row in rows:
        if not row.costs:
            lines.append((row.group, row.name, f"failed: {row.failure}", "", "", "", "", ""))
            continue
        cpu, wall = row.median(lambda cost: cost.cpu), row.median(lambda cost: cost.wall)
        lines.append(
            (
                row.group,
                row.name,
                f"{cpu:.2f} ({row.least(lambda cost: cost.cpu):.2f})",
                f"{cpu / row.files * 1e6:.0f}" if row.files >= 500 else "-",
                f"{cpu * GIB / row.size:.2f}" if row.size >= GIB // 4 else "-",
                f"{wall:.2f}",
                f"{row.files / wall:.0f}",
                f"{row.median(lambda cost: cost.peak_kib) / 1024:.0f}",
            )
        )
    return _table(heads, lines)


def _idle(rows: list[Row]) -> str:
    heads = ("volume", "% of a core", "CPU s a minute", "resident MiB")
    return _table(
        heads,
        [
            (
                row.name,
                f"{row.figures['percent'][0]:.2f}",
                f"{row.figures['minute'][0]:.2f}",
                f"{row.figures['resident_mib'][0]:.0f}",
            )
            for row in rows
        ],
    )


def _writer(rows: list[Row]) -> str:
    heads = (
        "writer",
        "beside it",
        "s of writing, median",
        "MiB/s",
        "slower by, median (least, most)",
        "sidecar meanwhile: MiB to disk",
        "CPU s",
    )
    lines = []
    for row in rows:
        seconds, slower = median(row.figures["seconds"]), row.figures["slower"]
        percents = "{:.0f} % ({:.0f}, {:.0f})".format(*(100 * x for x in (median(slower), min(slower), max(slower))))
        wrote, cpu = median(row.figures["wrote"]), median(row.figures["cpu"])
        speed = row.size / MIB / seconds
        lines.append((row.group, row.name, f"{seconds:.2f}", f"{speed:.0f}", percents, f"{wrote:.0f}", f"{cpu:.2f}"))
    return _table(heads, lines)


def _limits(rows: list[Row]) -> str:
    lines = [(row.name, f"{min(row.figures['value']):.2f}") for row in rows]
    return _table(("work", "CPU s/GiB, min (or as said)"), lines)


_RENDERERS: dict[str, Callable[[list[Row]], str]] = {
    "sidecar": _sidecar,
    "idle": _idle,
    "writer": _writer,
    "limits": _limits,
}


def _table(heads: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    rows = [heads, ["---"] * len(heads), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    fill(Path(sys.argv[1]), Path(sys.argv[2]))
