"""What may be done with pods."""

from uuid import UUID

from pinnace.records import PodPage, PodReport, PodStanding, WriterEnd, WriterStatus
from pinnace_api.clock import now
from pinnace_api.database import Connection, Database
from pinnace_api.experiments import queries as experiments
from pinnace_api.identity import TokenReviewer
from pinnace_api.iterations import queries as iterations
from pinnace_api.paging import Cut
from pinnace_api.pods import queries
from pinnace_api.refusals import ExperimentNotFound, Invalid, IterationNotFound
from pinnace_api.values import check_number, check_text


def put_report(
    database: Database, iteration: UUID, pod_uid: str, report: PodReport, *, name: str
) -> tuple[PodStanding, bool]:
    """Keep the pod's report unless a newer one (by `sequence`) is there. The bool says whether the pod is new.

    `name` is what Kubernetes calls the pod, empty when that isn't known. The answer is what the API holds.
    """
    _check(iteration, pod_uid, report)
    return database.write(_put_report, report, name)


def page(database: Database, experiment: UUID, cut: Cut) -> PodPage:
    with database.read() as connection:
        if not experiments.exists(connection, experiment):
            raise ExperimentNotFound(experiment)
        return queries.page(connection, experiment, cut)


def writers(database: Database, reviewer: TokenReviewer, iteration: UUID, pod_uid: str, *, name: str) -> WriterStatus:
    """Whether the pod's own containers have ended. `name` as for `put_report`; empty: what the pod itself told."""
    check_text(pod_uid, "pod_uid")
    with database.read() as connection:
        namespace = iterations.namespace(connection, iteration)
        if namespace is None:
            raise IterationNotFound(iteration)
        name = name or queries.name(connection, iteration, pod_uid)
    pod = reviewer.pod(namespace, name) if namespace and name else None
    return WriterStatus(ended=pod.writers if pod is not None and pod.uid == pod_uid else WriterEnd.UNKNOWN)


def _put_report(connection: Connection, report: PodReport, name: str) -> tuple[PodStanding, bool]:
    iteration, pod_uid = report.iteration_id, report.pod_uid
    iterations.check_exists(connection, iteration)
    is_new = queries.add(connection, iteration, [pod_uid]) == 1
    queries.set_report(connection, report, name, now())
    standing, computed = queries.standing(connection, iteration, pod_uid)
    if computed:
        queries.set_recorded(connection, standing)
    return standing, is_new


def _check(iteration: UUID, pod_uid: str, report: PodReport) -> None:
    if report.iteration_id != iteration:
        raise Invalid("the report is about another iteration", field="iteration_id")
    if report.pod_uid != pod_uid:
        raise Invalid("the report is about another pod", field="pod_uid")
    check_text(pod_uid, "pod_uid")
    check_number(report.sequence, "sequence")
    for index, problem in enumerate(report.problems):
        check_text(problem.reason, f"problems[{index}].reason")
        check_text(problem.message, f"problems[{index}].message")
