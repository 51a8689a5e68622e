"""Whatever happens in whatever order: never too many at once, never synced too early, and quiet in the end."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pinnace.records import ENDED_STATES, Problem
from pinnace_operator.catalogue import Catalogue
from pinnace_operator.deletion import FORCE_ANNOTATION
from pinnace_operator.experiment import Experiment
from pinnace_operator.experiment_status import ConditionType
from pinnace_operator.plan import FIGURES_PAUSE
from support.examples import examples
from support.operator_world import Crash, World, manifest, measure_at

#: What a deletion may take.
DELETION_S = 900

SELDOM = st.integers(min_value=0, max_value=9).map(lambda number: number == 9)

SYNCED = ConditionType.ARTIFACTS_SYNCED


LIMITS: dict[str, st.SearchStrategy[Any]] = {
    "maxFailedIterations": st.integers(min_value=0, max_value=1),
    "earlyStopping": st.just({"minIterations": 1}),
}


class ExperimentMachine(RuleBasedStateMachine):
    """Every rule is something that happens in a real cluster."""

    world: World

    @initialize(
        values=st.integers(min_value=1, max_value=5),
        parallelism=st.integers(min_value=1, max_value=4),
        backoff=st.integers(min_value=0, max_value=1),
        workers=st.sampled_from([1, 1, 2, 3]),
        ttl=st.sampled_from([None, 0, 600]),
        is_asked=st.booleans(),
        limits=st.fixed_dictionaries({}, optional=LIMITS),
        aim=st.sampled_from([None, None, 0.1]),
        persistent=st.booleans(),
        policy=st.sampled_from(["Retain", "Delete"]),
        queued=st.booleans(),
    )
    def apply(
        self,
        *,
        values: int,
        parallelism: int,
        backoff: int,
        workers: int,
        ttl: int | None,
        is_asked: bool,
        limits: dict[str, Any],
        aim: float | None,
        persistent: bool,
        policy: str,
        queued: bool,
    ) -> None:
        space = {"n": {"int": {"min": 0, "max": 9}}}
        spec: dict[str, Any] = {
            "parameters": {"optuna": {"count": values, "sampler": "Random", "space": space}}
            if is_asked
            else {"grid": {"n": list(range(values))}},
            "parallelism": parallelism,
            "backoffLimit": backoff,
            "objective": {"metric": "loss", "goal": "Minimize", "target": aim},
            **limits,
            "workers": workers,
            **({} if ttl is None else {"ttlSecondsAfterFinished": ttl}),
            "artifacts": {"deletionPolicy": policy, "deletionTimeoutSeconds": DELETION_S},
        }
        if persistent:
            spec["artifacts"] |= {"volume": {"persistentVolumeClaim": {"size": "50Gi", "accessMode": "ReadWriteMany"}}}
        if queued:
            spec["template"] = {
                "metadata": {"labels": {"kueue.x-k8s.io/queue-name": "team"}},
                "spec": {"containers": [{"name": "train", "image": "training:1"}]},
            }
        self.persistent, self.queued = persistent, queued
        self.world = World(manifest(**spec), catalogue=Catalogue())
        self.values, self.parallelism, self.backoff = values, parallelism, backoff
        self.highest_parallelism = parallelism
        #: By index and worker.
        self.pod_of: dict[tuple[int, int], str] = {}
        self.guests: list[str] = []
        self.deleted_unproven = False
        self.parameters: dict[int, str] = {}
        #: A pod lived of which nobody knows: its folder on the claim isn't looked for.
        self.unseen = False
        self.lived_unseen: set[int] = set()
        #: A pod is gone that was seen: whoever starts again knows no more than the API does of it.
        self.forgettable = False
        self.ttl = ttl
        self.policy, self.forced, self.taken, self.has_gone = policy, False, False, False

    @property
    def is_deleted(self) -> bool:
        return "deletionTimestamp" in self.world.body["metadata"]

    @property
    def halting(self) -> list[int]:
        """Jobs that are to end, and the Job controller has not seen it yet."""
        return sorted(
            int(job["metadata"]["labels"]["pinnace.dev/iteration"])
            for job in self.world.jobs_by_name.values()
            if job["spec"].get("activeDeadlineSeconds") == 1 and not job["status"].get("conditions")
        )

    @property
    def vacancies(self) -> list[tuple[int, int]]:
        return self.world.vacancies()

    @rule()
    def look(self) -> None:
        self.world.look()

    @rule(several=st.booleans())
    def stores_are_offered(self, several: bool) -> None:
        """One is a namespace's default, two leave open which."""
        for name in ("first", "second")[: 1 + several]:
            self.world.offer(name, default=True)

    @rule()
    def stores_are_withdrawn(self) -> None:
        for name in list(self.world.stores_by_name):
            self.world.withdraw(name)

    @rule()
    def look_until_quiet(self) -> None:
        self.world.settle()
        if self.world.cluster_is_up:
            status = self.world.status
            assert not set(self.world.open_jobs()) & (status.stopped | status.skipped)

    @rule(requests=st.integers(min_value=0, max_value=12))
    def operator_ends_between_two_requests(self, requests: int) -> None:
        self.world.crash_after = requests
        try:
            self.world.look()
        except Crash:
            self.world.restart_operator()
        self.world.crash_after = None

    @precondition(lambda self: self.pod_of)
    @rule(data=st.data(), step=st.integers(min_value=0, max_value=5), value=st.sampled_from([0.05, 0.5, 0.7, 0.9]))
    def measure(self, data: st.DataObject, step: int, value: float) -> None:
        index, _ = data.draw(st.sampled_from(sorted(self.pod_of)))
        if any(row.index == index for row in self.world.rows.values()):
            measure_at(self.world, index, "loss", step, value)

    @precondition(lambda self: self.vacancies)
    @rule(data=st.data())
    def start_pod(self, data: st.DataObject) -> None:
        place = data.draw(st.sampled_from(self.vacancies))
        self.pod_of[place] = self.world.start_pod(*place)

    @precondition(lambda self: self.vacancies)
    @rule(data=st.data(), evicted=st.booleans())
    def a_pod_lives_and_fails_while_nobody_looks(self, data: st.DataObject, evicted: bool) -> None:
        place = data.draw(st.sampled_from(self.vacancies))
        pod = self.world.start_pod(*place)
        self.world.write_file(pod)
        evicted = evicted or self.failures(place[0]) >= self.backoff
        self.world.end_pod(pod, exit_code=143, last=False, proven=False, disrupted=evicted)
        self.world.lose_pod(pod)
        self.lived_unseen.add(place[0])
        self.unseen = True

    @property
    def open_to_guests(self) -> list[int]:
        """Iterations that the webhook would let another owner's pod into."""
        return [] if self.persistent else sorted(set(range(self.values)) - self.world.status.synced)

    @precondition(lambda self: self.open_to_guests)
    @rule(data=st.data())
    def somebody_makes_a_labelled_pod(self, data: st.DataObject) -> None:
        self.guests.append(self.world.inject_pod(data.draw(st.sampled_from(self.open_to_guests))))

    @precondition(lambda self: self.guests)
    @rule(data=st.data(), exit_code=st.sampled_from([0, 1]), proven=st.sampled_from([True, True, True, False]))
    def labelled_pod_ends(self, data: st.DataObject, exit_code: int, proven: bool) -> None:
        guest = data.draw(st.sampled_from(self.guests))
        self.guests.remove(guest)
        self.world.end_pod(guest, exit_code=exit_code, proven=proven)

    @precondition(lambda self: self.pod_of or self.guests)
    @rule(data=st.data(), ship=st.booleans(), waits=st.booleans())
    def write_and_ship(self, data: st.DataObject, ship: bool, waits: bool) -> None:
        pod = data.draw(st.sampled_from([*self.pod_of.values(), *self.guests]))
        self.world.write_file(pod)
        if ship:
            problem = Problem(reason="StoreUnreachable", message="away", files=1) if waits else None
            self.world.ship(pod, problem)

    @property
    def draining(self) -> list[tuple[int, int]]:
        return sorted(place for place, pod in self.pod_of.items() if self.world.is_draining(pod))

    @precondition(lambda self: self.draining)
    @rule(data=st.data(), proven=st.sampled_from([True, True, False]))
    def a_suspended_pod_drains(self, data: st.DataObject, proven: bool) -> None:
        self.world.drain_pod(self.pod_of.pop(data.draw(st.sampled_from(self.draining))), proven=proven)
        self.forgettable = True

    @property
    def running(self) -> list[tuple[int, int]]:
        return sorted(set(self.pod_of) - set(self.draining))

    @precondition(lambda self: self.running)
    @rule(
        data=st.data(),
        exit_code=st.sampled_from([0, 0, 1]),
        proven=st.sampled_from([True, True, True, False]),
        disrupted=st.booleans(),
        vanishes=st.booleans(),
    )
    def end_pod(self, data: st.DataObject, exit_code: int, proven: bool, disrupted: bool, vanishes: bool) -> None:
        place = data.draw(st.sampled_from(self.running))
        pod = self.pod_of.pop(place)
        disrupted = disrupted and exit_code != 0
        last = not disrupted and self.failures(place[0]) >= self.backoff
        if last and exit_code:
            self.end_pods_of(place[0], proven=proven)
        self.world.end_pod(pod, exit_code=exit_code, last=last, proven=proven, disrupted=disrupted)
        if vanishes and disrupted:
            self.world.look()
            self.world.lose_pod(pod)
            self.forgettable = True

    def failures(self, index: int) -> int:
        failed: int = self.world.job(index)["status"].get("failed", 0)
        return failed

    @property
    def in_the_queues_hands(self) -> list[int]:
        """One without a queue's label is held back by somebody else now and then, who does not disturb what runs."""
        with_pods = set() if self.queued else {index for index, _ in self.pod_of}
        return sorted(set(self.world.open_jobs()) - with_pods)

    @precondition(lambda self: self.in_the_queues_hands)
    @rule(data=st.data())
    def a_queue_holds_a_job_back(self, data: st.DataObject) -> None:
        self.world.hold(data.draw(st.sampled_from(self.in_the_queues_hands)))

    @rule()
    def the_queue_lets_all_go(self) -> None:
        for job in self.world.trainings:
            if job["spec"].get("suspend") and "pinnace.dev/suspended" not in job["metadata"].get("annotations", {}):
                self.world.let_in(int(job["metadata"]["labels"]["pinnace.dev/iteration"]))

    @rule()
    def jobs_expire(self) -> None:
        for index in self.world.expire_jobs():
            assert index in self.world.status.synced

    @precondition(lambda self: self.world.open_rescues)
    @rule(data=st.data(), works=st.booleans(), report=st.booleans())
    def rescue_ends(self, data: st.DataObject, works: bool, report: bool) -> None:
        self.world.rescue(data.draw(st.sampled_from(self.world.open_rescues)), works=works, report=report)

    @precondition(lambda self: self.world.rescues)
    @rule(data=st.data())
    def somebody_deletes_a_rescue(self, data: st.DataObject) -> None:
        self.world.delete_rescue(data.draw(st.sampled_from(sorted(self.world.rescues))))

    @rule(up=st.booleans())
    def api(self, up: bool) -> None:
        self.world.api_is_up = up

    @rule(up=st.booleans())
    def cluster(self, up: bool) -> None:
        self.world.cluster_is_up = up

    @rule()
    def operator_restarts(self) -> None:
        self.world.restart_operator()

    @rule(seconds=st.sampled_from([1, 30, 700]))
    def time_passes(self, seconds: int) -> None:
        self.world.pass_time(seconds)

    @rule(parallelism=st.integers(min_value=1, max_value=4))
    def edit_parallelism(self, parallelism: int) -> None:
        self.highest_parallelism = max(self.highest_parallelism, parallelism)
        self.world.edit(parallelism=parallelism)

    @rule(whim=SELDOM)
    def somebody_deletes_it(self, whim: bool) -> None:
        if self.pod_of or whim:
            self.world.delete()

    @precondition(lambda self: self.is_deleted)
    @rule(whim=SELDOM)
    def somebody_forces_it(self, whim: bool) -> None:
        if whim:
            self.forced = True
            self.world.annotate(FORCE_ANNOTATION, "true")

    @precondition(lambda self: self.is_deleted)
    @rule()
    def its_namespace_goes_too(self) -> None:
        self.world.namespace_ends = True

    @precondition(lambda self: self.is_deleted and self.world.gone_at is None)
    @rule(whim=SELDOM)
    def somebody_takes_the_finalizer_away(self, whim: bool) -> None:
        if whim:
            self.taken = True
            self.world.remove_finalizer()

    @precondition(lambda self: self.halting)
    @rule(data=st.data())
    def the_job_controller_ends_a_job(self, data: st.DataObject) -> None:
        self.world.end_job_in_time(data.draw(st.sampled_from(self.halting)))

    @precondition(lambda self: not self.is_deleted)
    @rule(suspend=st.booleans())
    def edit_suspend(self, suspend: bool) -> None:
        self.world.edit(suspend=suspend)

    @property
    def noticed_jobs(self) -> list[int]:
        """Not those with a pod of this very moment: its event wakes the operator before it can have written."""
        existing = {int(job["metadata"]["labels"]["pinnace.dev/iteration"]) for job in self.world.trainings}
        with_pods = {
            int(pod["metadata"]["labels"]["pinnace.dev/iteration"])
            for pod in self.world.pods_by_name.values()
            if "pinnace.dev/inject" not in pod["metadata"]["labels"]
        }
        without = existing - with_pods - self.lived_unseen
        return sorted(existing & (self.world.status.started | without))

    @precondition(lambda self: self.noticed_jobs)
    @rule(data=st.data())
    def somebody_deletes_a_job(self, data: st.DataObject) -> None:
        index = data.draw(st.sampled_from(self.noticed_jobs))
        self.end_pods_of(index, proven=True)
        self.deleted_unproven = self.deleted_unproven or index not in self.world.status.synced
        self.world.delete_job(index)

    def end_pods_of(self, index: int, *, proven: bool) -> None:
        for place in [place for place in self.pod_of if place[0] == index]:
            pod = self.pod_of.pop(place)
            if self.world.is_draining(pod):
                self.world.drain_pod(pod, proven=proven)
                self.forgettable = True
            else:
                self.world.end_pod(pod, exit_code=1, last=False, proven=proven)

    @invariant()
    def never_more_than_parallelism(self) -> None:
        if hasattr(self, "world"):
            assert self.world.most_active <= self.highest_parallelism

    @invariant()
    def a_claim_is_never_taken_from_a_pod(self) -> None:
        if hasattr(self, "world"):
            assert self.world.wrongs == []
            assert self.persistent or not self.world.rescues

    @invariant()
    def never_synced_before_everything_is_ashore(self) -> None:
        if hasattr(self, "world") and self.world.condition(SYNCED)[0] == "True":
            assert self.world.everything_is_ashore
            counts = self.world.status.iterations
            assert counts.ended == self.values

    @invariant()
    def every_iteration_is_counted_once(self) -> None:
        if hasattr(self, "world"):
            status = self.world.status
            kinds = [status.succeeded, status.failed, status.stopped, status.skipped]
            assert sum(map(len, kinds)) == len(frozenset().union(*kinds)) <= self.values
            assert not status.skipped & status.started

    @invariant()
    def what_was_chosen_for_a_job_is_never_chosen_again(self) -> None:
        if hasattr(self, "world"):
            for job in self.world.trainings:
                index = int(job["metadata"]["labels"]["pinnace.dev/iteration"])
                chosen = job["metadata"].get("annotations", {}).get("pinnace.dev/parameters", "")
                assert self.parameters.setdefault(index, chosen) == chosen

    @invariant()
    def it_goes_with_proof_or_when_its_time_is_over_and_says_which(self) -> None:
        if not hasattr(self, "world") or self.world.gone_at is None or self.has_gone:
            return
        self.has_gone = True
        world = self.world
        # Before the operator has looked for the first time, nothing is promised to pods of other owners.
        if self.taken or "hold" not in world.writes:
            return
        deleted_at = Experiment.from_manifest(world.body).metadata.deletion_timestamp
        assert deleted_at is not None
        is_over = ((world.gone_at or world.now) - deleted_at).total_seconds() >= DELETION_S
        must = self.forced or is_over
        assert must or not self.pod_of, "a pod was at work"
        # A pod that nobody saw is told of by the pod after it only, and there is none.
        if not world.everything_is_ashore and not self.lived_unseen:
            told = {"DeletionForced": self.forced, "DeletionTimedOut": is_over, "ArtifactsUnproven": not self.pod_of}
            assert any(told.get(reason) for reason in world.reasons()) or world.namespace_ends
        if self.policy == "Delete" and world.experiment_rows:
            assert world.trashed or must

    def comes_to_its_end(self) -> None:
        """Whatever is still at work."""
        world = self.world
        world.pass_time(DELETION_S)
        for _ in range(4):
            world.look()
        assert world.gone_at is not None
        if not self.has_gone:
            assert all(row.state in ENDED_STATES for row in world.rows.values())
            assert world.trashed == (self.policy == "Delete" and bool(world.experiment_rows))

    def teardown(self) -> None:
        """Let everything recover: it comes to an end, and to rest."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.api_is_up = world.cluster_is_up = True
        self.stores_are_withdrawn()
        if self.is_deleted:
            self.comes_to_its_end()
            return
        world.edit(suspend=False)
        self.the_queue_lets_all_go()
        world.settle()
        self.let_all_pods_end()
        self.rescue_all()
        assert world.status.iterations.ended == self.values
        assert world.condition(ConditionType.RUNNING) == ("False", "Finished")
        if world.everything_is_ashore and not self.deleted_unproven:
            reports = [standing.report for standing in world.standings.values()]
            all_final = len(reports) == len(world.truth) and all(report and report.final for report in reports)
            synced = world.condition(SYNCED)[0] == "True"
            assert synced == all_final or (synced and self.forgettable)
        if self.persistent and not (self.deleted_unproven or self.forgettable or self.unseen):
            assert world.everything_is_ashore
            assert world.condition(SYNCED) == ("True", "AllRecorded")
        if self.forgettable:
            world.restart_operator()
            world.settle()
        # Figures alone wait for their turn, which a restart forgets.
        world.pass_time(FIGURES_PAUSE.total_seconds())
        world.settle()
        writes = len(world.writes)
        world.look()
        world.restart_operator()
        world.look()
        if self.ttl is not None and world.condition(SYNCED)[0] == "True":
            world.pass_time(self.ttl)
            world.expire_jobs()
            assert world.trainings == []
            world.restart_operator()
            world.look()
            assert world.condition(SYNCED)[0] == "True"
        rows = [write for write in world.writes[writes:] if write != "experiment row"]
        assert rows == []

    def let_all_pods_end(self) -> None:
        world = self.world
        for guest in self.guests:
            world.end_pod(guest)
        for _ in range(3 * self.values + 3):
            for place in self.draining:
                world.drain_pod(self.pod_of.pop(place))
                self.forgettable = True
            world.settle()
            for place in world.vacancies():
                self.pod_of[place] = world.start_pod(*place)
            world.look()
            for place in self.running:
                pod = self.pod_of.pop(place)
                world.end_pod(pod)
            world.settle()

    def rescue_all(self) -> None:
        """Those that failed are asked for once more."""
        world = self.world
        for uid in set(world.rescues) - set(world.open_rescues):
            world.delete_rescue(uid)
        world.settle()
        while world.open_rescues:
            world.rescue(world.open_rescues[0])
            world.settle()


ExperimentMachine.TestCase.settings = settings(max_examples=examples(100), stateful_step_count=35, deadline=None)
test_an_experiment_survives_everything = ExperimentMachine.TestCase
