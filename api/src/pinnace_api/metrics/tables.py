"""Four tables: a metric of an iteration with its summary, what wrote it, the points, and steps that the API chose.

Keys and sources are long and few, points are many: a point refers to both by number. The points lie in the order in
which a series is read.
"""

from uuid import UUID

from sqlalchemy import BigInteger, Column, Double, ForeignKey, UniqueConstraint
from sqlmodel import Field

from pinnace_api.tables import Row, counter, prose, table_of, word

#: `time` of a point that came without one: before every other, and comparable where NULL is not.
NO_TIME = -(2**63)


class MetricRow(Row, table=True):
    """One metric of one iteration, and what its points come to. A value that is NULL is NaN.

    `low` and `high` are NULL while all values are NaN. The last point is the greatest by (step, time, source, offset).
    """

    __tablename__ = "metrics"
    __table_args__ = (UniqueConstraint("iteration_id", "key"),)

    id: int = Field(sa_column=Column(counter(), primary_key=True, autoincrement=True))
    iteration_id: UUID = Field(foreign_key="iterations.id")
    key: str = Field(sa_type=word(250))
    points: int = Field(sa_type=BigInteger)
    low: float | None = Field(sa_type=Double)
    high: float | None = Field(sa_type=Double)
    last_step: int = Field(sa_type=BigInteger)
    last_time: int = Field(sa_type=BigInteger)
    last_source: int = Field(sa_type=BigInteger)
    last_offset: int = Field(sa_type=BigInteger)
    last_value: float | None = Field(sa_type=Double)


class MetricSourceRow(Row, table=True):
    """What wrote points; found by its digest, because it may be longer than an index takes."""

    __tablename__ = "metric_sources"
    __table_args__ = (UniqueConstraint("iteration_id", "digest"),)

    id: int = Field(sa_column=Column(counter(), primary_key=True, autoincrement=True))
    iteration_id: UUID = Field(foreign_key="iterations.id")
    digest: str = Field(sa_type=word(64))
    source: str = Field(sa_type=prose())


class MetricPointRow(Row, table=True):
    """One value; NULL is NaN, because SQLite can't hold one. `time` in microseconds since 1970 UTC, or NO_TIME."""

    __tablename__ = "metric_points"
    __table_args__ = ({"sqlite_with_rowid": False},)

    metric_id: int = Field(sa_column=Column(counter(), ForeignKey("metrics.id"), primary_key=True))
    step: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    source_id: int = Field(sa_column=Column(counter(), ForeignKey("metric_sources.id"), primary_key=True))
    offset: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    time: int = Field(sa_type=BigInteger)
    value: float | None = Field(sa_type=Double)


class MetricAutoStepRow(Row, table=True):
    """The step that the API chose for a point which came without one, so that it gets the same when it comes again."""

    __tablename__ = "metric_auto_steps"
    __table_args__ = ({"sqlite_with_rowid": False},)

    metric_id: int = Field(sa_column=Column(counter(), ForeignKey("metrics.id"), primary_key=True))
    source_id: int = Field(sa_column=Column(counter(), ForeignKey("metric_sources.id"), primary_key=True))
    offset: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    step: int = Field(sa_type=BigInteger)


METRICS = table_of(MetricRow)
METRIC_SOURCES = table_of(MetricSourceRow)
METRIC_POINTS = table_of(MetricPointRow)
METRIC_AUTO_STEPS = table_of(MetricAutoStepRow)
