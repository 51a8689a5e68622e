"""Results as Markdown: `python -m bench.report RESULTS SUBJECT DOCUMENT` replaces what stands between a table's marks.

<!-- begin uploads --> … <!-- end uploads -->
"""

import sys
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from statistics import median

from bench.harness import Row, read_rows
from bench.sets import GIB, MIB

#: So many of them are told by how many come in a second, fewer by how long one takes.
_MANY = 20


def fill(results: Path, subject: str, document: Path) -> None:
    """Write every table that the results have into its place. ValueError for one without a place."""
    text = document.read_text(encoding="utf-8")
    for name, table in _tables(results, subject).items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        above, _, rest = text.partition(begin)
        _, found, below = rest.partition(end)
        if not found:
            raise ValueError(f"{document.name} has no place for the table {name}")
        text = f"{above}{begin}\n{table}\n{end}{below}"
    document.write_text(text, encoding="utf-8")


def text(results: Path, subject: str) -> str:
    """All tables, one below the other."""
    return "\n".join(f"## {name}\n\n{table}" for name, table in _tables(results, subject).items())


def _tables(results: Path, subject: str) -> dict[str, str]:
    rows, facts = read_rows(results)
    tables = {f"facts-{subject}": _table(("what", "value"), [(name, value) for name, value in facts.items()])}
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


def _api(rows: list[Row]) -> str:
    """Ours first, and how many times as long the others take."""
    texts = []
    for group, some in groupby(rows, key=lambda row: row.group):
        mine = list(some)
        ours = mine[0].median(lambda cost: cost.wall) if mine[0].costs else 0.0
        lines = [
            (
                row.name,
                _pace(row),
                _milliseconds(row.median(lambda cost: cost.cpu) / row.files),
                f"{row.median(lambda cost: cost.wall) / ours:.1f}" if ours and row is not mine[0] else "",
                f"{row.median(lambda cost: cost.peak_kib) / 1024:.0f}",
            )
            if row.costs
            else (row.name, f"failed: {row.failure}", "", "", "")
            for row in mine
        ]
        unit = "ms each" if mine[0].files < _MANY else "a second"
        heads = ("server", f"{unit}, median (best)", "server's CPU ms each", "times ours", "MiB")
        texts.append(f"**{group}**\n\n{_table(heads, lines)}")
    return "\n".join(texts)


def _operator(rows: list[Row]) -> str:
    heads = (
        "Experiments",
        "API server's requests, each",
        "metadata API's requests, each",
        "requests in 20 idle s",
        "operator's CPU ms, each",
        "peak MiB",
        "drained in s",
    )
    names = (("requests", 1), ("api_requests", 1), ("idle", 0), ("cpu_ms", 0), ("peak_mib", 0), ("seconds", 0))
    return _table(
        heads, [(row.name, *(f"{row.figures[name][0]:.{digits}f}" for name, digits in names)) for row in rows]
    )


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f}" if seconds >= 0.1 else f"{seconds * 1000:.3g}"


def _pace(row: Row) -> str:
    median, best = (of(lambda cost: cost.wall) / row.files for of in (row.median, row.least))
    if row.files < _MANY:
        return f"{median * 1000:.0f} ({best * 1000:.0f})"
    return f"{1 / median:,.0f} ({1 / best:,.0f})"


_RENDERERS: dict[str, Callable[[list[Row]], str]] = {
    "sidecar": _sidecar,
    "idle": _idle,
    "writer": _writer,
    "limits": _limits,
    "api-writes": _api,
    "api-writes-postgresql": _api,
    "api-reads": _api,
    "api-reads-postgresql": _api,
    "api-artifacts": _api,
    "operator": _operator,
}


def _table(heads: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    rows = [heads, ["---"] * len(heads), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    fill(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
