"""May this Experiment be created, or changed so? The operator's own decision (acceptance.py), told beforehand.

Pure. An Experiment that is stored already with the same fault may still be changed, suspended for instance; the fault
is a warning then. What does not change the spec is never refused, nor is anything about one that is being deleted.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pinnace.naming import KIND
from pinnace_operator.acceptance import Accepted, NotAcceptedError, accept
from pinnace_operator.admission.review import Decision, Request, UnreadableError, refused
from pinnace_operator.experiment import Experiment
from pinnace_operator.manifest import MalformedError
from pinnace_operator.ports import ClusterError
from pinnace_operator.settings import Platform
from pinnace_operator.stores import Offers, OffersTo

#: Where the API server has not given one yet.
_NO_UID: Final = "00000000-0000-0000-0000-000000000000"


def decide(request: Request, platform: Platform, offers: OffersTo = lambda _: None) -> Decision:
    """Raises UnreadableError for anything but an Experiment that is written."""
    if request.kind.kind != KIND or request.object is None:
        raise UnreadableError(f"this hook decides on Experiments that are written, not on a {request.kind.kind}")
    new, old = request.object, request.old_object
    if old is not None and (new.get("spec") == old.get("spec") or "deletionTimestamp" in new.get("metadata", {})):
        return Decision()
    experiment, accepted, fault = _judged(new, platform, offers)
    if not fault:
        assert experiment is not None
        assert accepted is not None
        return Decision(warnings=tuple(_doubts(experiment, accepted)))
    if old is not None and _judged(old, platform, offers)[2] == fault:
        return Decision(warnings=(f"the spec still can't be carried out: {fault}",))
    return refused(fault)


def _judged(
    manifest: Mapping[str, Any], platform: Platform, offers: OffersTo
) -> tuple[Experiment | None, Accepted | None, str]:
    """The Experiment and what follows from it, or why it can't be carried out."""
    metadata = {"name": "", "uid": _NO_UID, **manifest.get("metadata", {})}
    try:
        experiment = Experiment.from_manifest({**manifest, "metadata": metadata})
        return experiment, accept(experiment, platform, _offers(offers, experiment.namespace)), ""
    except NotAcceptedError as error:
        return None, None, str(error)
    except MalformedError as error:
        return None, None, f"{error}; {error.hint}"


def _offers(offers: OffersTo, namespace: str) -> Offers | None:
    """Where Kubernetes can't be asked, the condition says later what is not offered."""
    try:
        return offers(namespace)
    except ClusterError:
        return Offers(namespace=namespace)


def _doubts(experiment: Experiment, accepted: Accepted) -> Iterator[str]:
    """What may be, and is seldom meant."""
    if accepted.withheld is not None:
        # It may be offered by the next object of the same `kubectl apply`.
        yield str(accepted.withheld)
    spec = experiment.spec
    if spec.artifacts.completion.settle_seconds == 0:
        yield (
            "spec.artifacts.completion.settleSeconds is 0: a file that is still being written may be taken for "
            "complete, unless every writer renames it into place: set it to 5, or be sure of that"
        )
    if accepted.search.count > 1 and spec.objective is None:
        yield (
            f"spec.objective is not set: the status of these {accepted.search.count} iterations will not say "
            "which is the best one"
        )
