"""Whether something may be written to an iteration: pure."""

from dataclasses import dataclass
from uuid import UUID

from pinnace.records import ENDED_STATES, IterationState, Lifecycle
from pinnace_api.edits import check_writable
from pinnace_api.refusals import Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where an iteration stands, and what it lies in."""

    iteration: UUID
    experiment: UUID
    project: str
    state: IterationState
    lifecycle: Lifecycle
    experiment_lifecycle: Lifecycle
    project_lifecycle: Lifecycle

    @property
    def effective(self) -> Lifecycle:
        """Its own lifecycle, or TRASHED for what lies in the trash with something else."""
        is_trashed = Lifecycle.TRASHED in (self.experiment_lifecycle, self.project_lifecycle)
        return Lifecycle.TRASHED if is_trashed else self.lifecycle

    def check_writable(self, own: Lifecycle | None = None) -> None:
        """Raise Trashed when it, its experiment or its project lies in the trash; `own` in place of its lifecycle."""
        check_writable(
            {
                f"iteration {self.iteration}": own or self.lifecycle,
                f"experiment {self.experiment}": self.experiment_lifecycle,
                f"project {self.project!r}": self.project_lifecycle,
            }
        )

    def check_open(self) -> None:
        """Raise Ended or Trashed unless what a run records may still come."""
        self.check_writable()
        if self.state in ENDED_STATES:
            raise Ended(
                f"iteration {self.iteration} has ended as {self.state}", hint="name, notes and tags still can change"
            )
