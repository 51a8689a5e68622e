"""Table `idle`: what the sidecar takes when nothing changes, with many recorded files on the volume."""

from bench import servers, sets
from bench.harness import Row, say
from bench.pod import pod
from bench.table import Table, Wishes
from bench.waiting import pause


def measure(wishes: Wishes) -> list[Row]:
    seconds = 20 if wishes.quick else 120
    row = Row(table="idle", group="", name="10,000 recorded files on the volume", files=10_000)
    with servers.null_server(wishes.scratch) as server, pod(wishes.scratch, server) as here:
        sets.SMALL.make(here.volume / "run")
        here.wait_for_rows(sets.SMALL.files)
        # What is left of the work, and the look round that follows it.
        pause(5)
        before = here.cpu()
        pause(seconds)
        share = (here.cpu() - before) / seconds
        row.figures = {"percent": [share * 100], "minute": [share * 60], "resident_mib": [here.resident_kib() / 1024]}
        here.end()
    say(f"idle: {row.figures}")
    return [row]


TABLES = (Table("idle", measure),)
