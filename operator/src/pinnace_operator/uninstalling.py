"""Taking our finalizers away from all Experiments, so that none is stuck when no operator is left to release it.

`python -m pinnace_operator release` does it before the chart is uninstalled; an operator does it when it is ended
because its own namespace is deleted.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final, Protocol

from pinnace_operator.deletion import FINALIZER
from pinnace_operator.ports import GoneError, RejectedError

#: An Experiment that is changed at the same moment is tried again in the next round.
_ROUNDS: Final = 5

_log = logging.getLogger(__name__)


class Experiments(Protocol):
    def experiments(self, namespace: str, selector: str) -> list[dict[str, Any]]: ...

    def release_experiment(
        self, namespace: str, name: str, uid: str, finalizers: Sequence[str], finalizer: str
    ) -> int: ...


def release_all(cluster: Experiments, namespaces: Sequence[str], selector: str) -> int:
    """How many were held by us. Their Jobs go on. Raises ClusterError when some still are; call it again."""
    released, failure = 0, None
    for _ in range(_ROUNDS):
        failure = None
        for manifest in [each for place in namespaces or ("",) for each in cluster.experiments(place, selector)]:
            meta = manifest["metadata"]
            finalizers = meta.get("finalizers", [])
            if FINALIZER not in finalizers:
                continue
            try:
                cluster.release_experiment(meta["namespace"], meta["name"], meta["uid"], finalizers, FINALIZER)
                released += 1
            except GoneError:
                continue
            except RejectedError as error:
                failure = error
        if failure is None:
            break
    if failure is not None:
        raise failure
    _log.info("experiments.released count=%d", released)
    return released
