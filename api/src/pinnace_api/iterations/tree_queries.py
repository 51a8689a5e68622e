"""The tree of iterations in SQL: whom one lies below, and what lies below it."""

from typing import Any
from uuid import UUID

from sqlalchemy import CTE, Connection, func, literal, select

from pinnace.records import IterationState, Lifecycle, Subtree, TreeNode
from pinnace_api import paging
from pinnace_api.artifacts.tables import ARTIFACTS
from pinnace_api.iterations.tables import ITERATIONS
from pinnace_api.paging import Cut, Number, Order

_ORDER = Order(columns=(ITERATIONS.c.number,), key=tuple[Number])
_KEPT = ITERATIONS.c.lifecycle != Lifecycle.TRASHED


def is_below(connection: Connection, iteration: UUID, other: UUID) -> bool:
    """Whether `iteration` is `other` or lies below it, at whatever depth."""
    begun = select(ITERATIONS.c.id, ITERATIONS.c.parent_id).where(ITERATIONS.c.id == iteration)
    up = begun.cte("up", recursive=True)
    up = up.union_all(
        select(ITERATIONS.c.id, ITERATIONS.c.parent_id).join_from(ITERATIONS, up, ITERATIONS.c.id == up.c.parent_id)
    )
    return connection.execute(select(up.c.id).where(up.c.id == other).limit(1)).first() is not None


def subtree(connection: Connection, root: UUID, cut: Cut) -> Subtree:
    """What `root` and all below it come to, and a page of them; those in the trash don't count, those below them do."""
    tree = _tree(root)
    inside = select(ITERATIONS.c.state, func.count()).join_from(tree, ITERATIONS, tree.c.id == ITERATIONS.c.id)
    states = {
        IterationState(state): count
        for state, count in connection.execute(inside.where(_KEPT).group_by(ITERATIONS.c.state))
    }
    artifacts, size = connection.execute(
        select(func.count(), func.coalesce(func.sum(ARTIFACTS.c.size), 0))
        .join_from(tree, ITERATIONS, tree.c.id == ITERATIONS.c.id)
        .join(ARTIFACTS, ARTIFACTS.c.iteration_id == ITERATIONS.c.id)
        .where(_KEPT, ARTIFACTS.c.deleted_at.is_(None))
    ).one()
    nodes = select(ITERATIONS, tree.c.depth).join_from(tree, ITERATIONS, tree.c.id == ITERATIONS.c.id).where(_KEPT)
    part = paging.fetch(connection, nodes, _ORDER, cut)
    return Subtree(
        iterations=sum(states.values()),
        states=states,
        artifacts=artifacts,
        artifact_bytes=int(size),
        items=tuple(_node(row) for row in part.rows),
        next=part.next,
    )


def _tree(root: UUID) -> CTE:
    begun = select(ITERATIONS.c.id, literal(0).label("depth")).where(ITERATIONS.c.id == root)
    tree = begun.cte("tree", recursive=True)
    below = select(ITERATIONS.c.id, tree.c.depth + 1).join_from(ITERATIONS, tree, ITERATIONS.c.parent_id == tree.c.id)
    return tree.union_all(below)


def _node(row: Any) -> TreeNode:
    return TreeNode(
        id=row.id,
        parent_id=row.parent_id,
        index=row.number,
        name=row.name,
        state=IterationState(row.state),
        depth=row.depth,
    )
