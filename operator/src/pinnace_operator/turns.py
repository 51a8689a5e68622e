"""Which iterations of a sweep begin now, and which are not to go on. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from pinnace_operator.acceptance import Accepted
from pinnace_operator.engines.kinds import stop_of
from pinnace_operator.experiment import Experiment
from pinnace_operator.observed import JobView, Observed
from pinnace_operator.progress import IterationProgress, Stage, is_closed, target_reached
from pinnace_operator.search import Asked
from pinnace_operator.search.asking import Told, Trial
from pinnace_operator.search.objective import finite_value_of
from pinnace_operator.search.stopping import is_hopeless, verdict
from pinnace_operator.search.values import Combination

#: Asked for in one look, so that a large parallelism does not keep other Experiments waiting.
MAX_ASKED: Final = 20


def to_stop(experiment: Experiment, iterations: Sequence[IterationProgress], observed: Observed) -> Mapping[int, str]:
    """Those that have a Job and are not to go on, each with the reason; what was stopped once stays stopped."""
    reached, closed = target_reached(experiment, observed), is_closed(experiment, observed, iterations)
    found: dict[int, str] = {}
    for iteration in iterations:
        job = iteration.job
        if job is None or job.over or not can_be_stopped(job):
            continue
        if job.stopped or iteration.stage is Stage.STOPPED:
            found[iteration.index] = job.stopped or "it was stopped before"
        elif iteration.stage is Stage.ACTIVE and reached is not None and iteration.index != reached.index:
            # The one that reached it goes on to its own end: what it writes last is what the sweep was for.
            found[iteration.index] = f"iteration {reached.index} reached the target of spec.objective"
        elif iteration.is_held and closed:
            found[iteration.index] = "no further iteration was to begin, and a queue held it"
        elif why := _hopeless(experiment, iteration, observed):
            found[iteration.index] = why
    return found


def can_be_stopped(job: JobView) -> bool:
    """A queue starts at once what it has let in and somebody else suspends."""
    return not job.queued or bool(stop_of(job.engine))


def next_ones(
    experiment: Experiment, iterations: Sequence[IterationProgress], free: int
) -> Sequence[IterationProgress]:
    """Those whose turn it is, of `free` places. One whose parameters are still to be chosen keeps its place."""
    waiting = [iteration for iteration in iterations if not iteration.begun and not iteration.ended]
    return [] if experiment.spec.suspend else waiting[: max(free, 0)]


def chosen(
    experiment: Experiment,
    iterations: Sequence[IterationProgress],
    turn: Sequence[IterationProgress],
    observed: Observed,
    accepted: Accepted,
) -> Mapping[int, Combination]:
    """Parameters for those whose turn it is and that have none; none while nobody knows what the others came to."""
    search = accepted.search
    unknown = [iteration.index for iteration in turn if iteration.stage is Stage.OPEN][:MAX_ASKED]
    if not unknown or not isinstance(search, Asked) or observed.rows is None:
        return {}
    trials = [_trial(experiment, iteration) for iteration in iterations if iteration.parameters]
    return dict(zip(unknown, search.suggester.suggest(unknown, trials), strict=True))


def _hopeless(experiment: Experiment, iteration: IterationProgress, observed: Observed) -> str:
    rule, objective = experiment.spec.early_stopping, experiment.spec.objective
    peers = observed.comparison.peers.get(iteration.index)
    if rule is None or objective is None or peers is None or iteration.stage is not Stage.ACTIVE:
        return ""
    own = finite_value_of(objective, iteration.row)
    return verdict(objective, own, peers) if is_hopeless(rule, objective.goal, own, peers.values) else ""


_TOLD: Final = {
    Stage.SUCCEEDED: Told.VALUE,
    Stage.FAILED: Told.NOTHING,
    Stage.STOPPED: Told.STOPPED,
}


def _trial(experiment: Experiment, iteration: IterationProgress) -> Trial:
    told = _TOLD.get(iteration.stage, Told.PENDING)
    objective = experiment.spec.objective
    value = finite_value_of(objective, iteration.row) if objective and told in (Told.VALUE, Told.STOPPED) else None
    if told is Told.VALUE and value is None:
        told = Told.NOTHING
    return Trial(index=iteration.index, parameters=iteration.parameters, told=told, value=value)
