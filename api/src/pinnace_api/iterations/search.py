"""Iterations by filter, in any order."""

from dataclasses import dataclass
from uuid import UUID

from pinnace.records import IterationPage, Shown
from pinnace_api.database import Database
from pinnace_api.filters.parser import parse_filter, parse_order
from pinnace_api.identity import Caller
from pinnace_api.iterations import queries, search_queries
from pinnace_api.iterations.search_queries import Selection
from pinnace_api.iterations.vocabulary import VOCABULARY
from pinnace_api.metrics import queries as metrics
from pinnace_api.paging import Cut
from pinnace_api.values import check_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for, as it was written."""

    project: str | None = None
    experiment: UUID | None = None
    filter: str = ""
    order_by: str = ""
    shown: Shown = Shown.ACTIVE


def page(database: Database, wanted: Wanted, caller: Caller, cut: Cut, *, total: bool = False) -> IterationPage:
    """Of what the caller may see. Raises Invalid that points at the place in the filter or the order."""
    selection = select(wanted, caller)
    with database.read() as connection:
        items, following = search_queries.page(connection, selection, cut)
        summaries = metrics.summaries(connection, [iteration.id for iteration in items])
        whole = tuple(queries.with_metrics(iteration, summaries) for iteration in items)
        count = search_queries.count(connection, selection) if total else None
    return IterationPage(items=whole, next=following, total=count)


def select(wanted: Wanted, caller: Caller) -> Selection:
    """What is asked for, read and checked. Raises Invalid."""
    check_text(wanted.project or "", "project")
    return Selection(
        project=wanted.project,
        experiment=wanted.experiment,
        expression=parse_filter(wanted.filter, VOCABULARY, me=str(caller)) if wanted.filter.strip() else None,
        order=parse_order(wanted.order_by, VOCABULARY),
        shown=wanted.shown,
        visible=caller.visible,
    )
