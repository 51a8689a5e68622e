"""An Experiment's standing as lines for a person. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from pinnace.cli.output import assignments, bytes_in_words, escaped
from pinnace.kubectl.objects import Condition
from pinnace.kubectl.standing import ExperimentStanding, IterationStanding, PodState, Stage
from pinnace.records import FileState

#: How urgently somebody wants to see an iteration, when not all are shown.
_URGENCY = (
    Stage.FAILED,
    Stage.DRAINING,
    Stage.RUNNING,
    Stage.STARTING,
    Stage.SUSPENDED,
    Stage.WAITING,
    Stage.STOPPED,
    Stage.SUCCEEDED,
    Stage.SKIPPED,
)


def lines(standing: ExperimentStanding, now: datetime, *, limit: int) -> Iterator[str]:
    """`limit` is how many iterations are shown, those first that need a person; 0: all."""
    yield f"Experiment {standing.name} in namespace {standing.namespace}, project {standing.project}"
    yield f"{_count(len(standing.iterations), 'iteration')}: {_stages(standing.iterations)}{_best(standing)}"
    yield f"artifacts: {_artifacts(standing)}"
    yield ""
    yield from _conditions(standing.conditions, now)
    yield ""
    shown = _chosen(standing.iterations, limit)
    for position, iteration in enumerate(shown):
        last = position == len(shown) - 1
        yield f"{'└' if last else '├'}─ {_iteration(iteration)}"
        yield from (f"{' ' if last else '│'}  {line}" for line in _below(iteration))
    if len(shown) < len(standing.iterations):
        rest = [each for each in standing.iterations if each not in shown]
        yield f"… and {len(rest)} more ({_stages(rest)}): --limit 0 shows all"
    if standing.missing:
        yield ""
        yield f"Note: {escaped(standing.missing)}"


def _stages(iterations: Iterable[IterationStanding]) -> str:
    stages = [each.stage for each in iterations]
    return ", ".join(f"{stages.count(stage)} {stage}" for stage in Stage if stage in stages) or "none"


def _best(standing: ExperimentStanding) -> str:
    return "" if standing.best_iteration is None else f"; best: {standing.best_iteration} ({standing.best_value})"


def _artifacts(standing: ExperimentStanding) -> str:
    waiting = f", {standing.pending} on their way" if standing.pending else ""
    oldest = f", the oldest for {age(standing.oldest_unshipped_seconds)}" if standing.oldest_unshipped_seconds else ""
    return f"{standing.recorded} recorded ({bytes_in_words(standing.bytes_recorded)}){waiting}{oldest}"


def _conditions(conditions: Sequence[Condition], now: datetime) -> Iterator[str]:
    rows = [("CONDITION", "STATUS", "FOR", "REASON", "MESSAGE")]
    for each in conditions:
        since = each.last_transition_time
        lasting = age((now - since).total_seconds()) if since else ""
        rows.append((each.type, each.status, lasting, each.reason, escaped(each.message)))
    if not conditions:
        yield "No condition yet: has an operator seen it? kubectl get pods -A -l app.kubernetes.io/component=operator"
        return
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        yield "  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[4]]).rstrip()


def _chosen(iterations: Sequence[IterationStanding], limit: int) -> Sequence[IterationStanding]:
    if not limit or len(iterations) <= limit:
        return iterations
    urgent = sorted(iterations, key=lambda each: (not _has_trouble(each), each.is_done, _URGENCY.index(each.stage)))
    return sorted(urgent[:limit], key=lambda each: each.index)


def _has_trouble(iteration: IterationStanding) -> bool:
    return bool(iteration.troubles) or any(pod.troubles for pod in iteration.pods)


def _iteration(iteration: IterationStanding) -> str:
    ended = iteration.has_ended
    synced = ("" if not ended else ", all ashore") if iteration.synced else (", not all ashore" if ended else "")
    parameters = f"   {escaped(assignments(iteration.parameters))}" if iteration.parameters else ""
    return f"{iteration.index}  {iteration.stage}{synced}{parameters}"


def _below(iteration: IterationStanding) -> Iterator[str]:
    yield from (f"! {escaped(trouble)}" for trouble in iteration.troubles)
    several = len({pod.worker for pod in iteration.pods}) > 1
    for pod in iteration.pods:
        yield _pod(pod, several=several)
        yield from (f"   ! {escaped(trouble)}" for trouble in pod.troubles)


def _pod(pod: PodState, *, several: bool) -> str:
    worker = f" (worker {pod.worker})" if several and pod.worker is not None else ""
    return f"{pod.name or pod.uid}{worker}  {pod.phase}{_files(pod)}"


def _files(pod: PodState) -> str:
    if pod.files is None:
        return ""
    counts = ", ".join(f"{pod.files[state]} {state}" for state in FileState if pod.files.get(state))
    size = f" ({bytes_in_words(pod.bytes_recorded)})" if pod.bytes_recorded else ""
    oldest = f", the oldest unshipped for {age(pod.oldest_unshipped_seconds)}" if pod.oldest_unshipped_seconds else ""
    return f"  {counts or 'no files'}{size}{oldest}"


def age(seconds: float) -> str:
    """As kubectl writes it: 42s, 12m, 3h, 2d."""
    whole = max(int(seconds), 0)
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if whole >= 2 * size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
