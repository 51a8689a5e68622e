"""What the median rule asks of the metadata API, and how that answers: the real client and the real server."""

from datetime import UTC, datetime
from uuid import UUID

from pinnace.client import Client
from pinnace.ids import iteration_id
from pinnace.records import ExperimentWrite, IterationState, IterationWrite, MetricWrite
from pinnace_operator.observe import observe
from pinnace_operator.observed import Observed
from pinnace_operator.search.stopping import Comparison, Peers
from pinnace_operator.sightings import Sightings
from support.operator_world import UID, experiment

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BODY = experiment(
    parameters={"grid": {"n": [0, 1, 2, 3]}},
    objective={"metric": "loss", "goal": "Minimize"},
    earlyStopping={"minIterations": 3},
)


def looked(client: Client, last: Comparison) -> Observed:
    return observe(
        BODY,
        Sightings(),
        client,
        now=NOW,
        poll_seconds=5,
        comparison=last,
        experiment_row=None,
        refusal=None,
        api_trouble=None,
        images={},
    )


def test_a_running_iteration_is_compared_with_what_the_others_had_at_its_step(client: Client) -> None:
    client.put_experiment(UUID(UID), ExperimentWrite(project="stopping", name="sweep", namespace="team-a"))
    for index in range(4):
        identity = iteration_id(UUID(UID), index)
        row = IterationWrite(experiment_id=UUID(UID), index=index, state=IterationState.RUNNING)
        client.put_iteration(identity, row)
        steps = 5 if index == 3 else 400
        # They fall from 10 to 6 in four steps, and on; the last one rises and stops at step 4.
        values = [10 + step if index == 3 else 10 - step + index / 10 for step in range(steps)]
        client.put_metrics(identity, [MetricWrite(key="loss", step=at, value=value) for at, value in enumerate(values)])
    seen = looked(client, Comparison())
    assert seen.api_trouble is None
    found = seen.comparison
    assert found.suspects[3] == 4
    assert found.peers[3] == Peers(step=4, values=(6.0, 6.1, 6.2))
    assert looked(client, found).comparison is found
