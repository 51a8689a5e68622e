"""What every optimiser that can be asked has to keep, each tried with the same questions."""

import math
import statistics
import subprocess
import sys
from collections.abc import Callable

import pytest

from pinnace_operator.experiment_spec import (
    Dimension,
    Goal,
    IntRange,
    Objective,
    OptunaSearch,
    Parameters,
    RandomSearch,
    Range,
    Sampler,
)
from pinnace_operator.search import Asked, search_of
from pinnace_operator.search.asking import Suggester, Told, Trial
from pinnace_operator.search.optuna_suggester import OptunaSuggester
from pinnace_operator.search.spaces import Space, space_of
from pinnace_operator.search.values import Combination, SearchError

SPACE = space_of(
    {
        "depth": Dimension(int_=IntRange(min=1, max=10, step=3)),
        "kind": Dimension(choice=["a", True, 1, 1.0, 0.5]),
        "lr": Dimension(log_uniform=Range(min=1e-5, max=1e-1)),
        "x": Dimension(uniform=Range(min=-2, max=2)),
    },
    "space",
)
Make = Callable[[Space, Goal, int], Suggester]


def optuna_with(sampler: Sampler) -> Make:
    return lambda space, goal, seed: OptunaSuggester(space=space, sampler=sampler, goal=goal, seed=seed)


SUGGESTERS = {f"optuna {sampler}": optuna_with(sampler) for sampler in Sampler}


@pytest.fixture(params=list(SUGGESTERS.values()), ids=list(SUGGESTERS))
def make(request: pytest.FixtureRequest) -> Make:
    found: Make = request.param
    return found


def some_trials(suggester: Suggester, number: int) -> list[Trial]:
    trials: list[Trial] = []
    for index in range(number):
        [parameters] = suggester.suggest([index], trials)
        told = list(Told)[index % 4]
        value = float(index) if told in (Told.VALUE, Told.STOPPED) else None
        trials.append(Trial(index=index, parameters=parameters, told=told, value=value))
    return trials


def in_space(parameters: Combination) -> bool:
    depth, kind, lr, x = parameters["depth"], parameters["kind"], parameters["lr"], parameters["x"]
    return (
        list(parameters) == sorted(SPACE)
        and type(depth) is int
        and depth in (1, 4, 7, 10)
        and any(type(kind) is type(one) and kind == one for one in ("a", True, 1, 1.0, 0.5))
        and type(lr) is float
        and 1e-5 <= lr <= 1e-1
        and type(x) is float
        and -2 <= x <= 2
    )


def test_every_value_lies_in_the_space_with_its_type(make: Make) -> None:
    trials = some_trials(make(SPACE, Goal.MAXIMIZE, 3), 30)
    assert all(in_space(trial.parameters) for trial in trials)


def test_the_same_question_has_the_same_answer_whatever_the_order_of_what_is_told(make: Make) -> None:
    trials = some_trials(make(SPACE, Goal.MINIMIZE, 3), 20)
    first = make(SPACE, Goal.MINIMIZE, 3).suggest([20, 21], trials)
    assert make(SPACE, Goal.MINIMIZE, 3).suggest([20, 21], list(reversed(trials))) == first


def test_different_iterations_and_seeds_get_different_parameters(make: Make) -> None:
    apart = [make(SPACE, Goal.MAXIMIZE, 1).suggest([index], [])[0] for index in range(4)]
    together = make(SPACE, Goal.MAXIMIZE, 1).suggest([0, 1, 2, 3], [])
    assert len({str(one) for one in apart}) == len({str(one) for one in together}) == 4
    assert make(SPACE, Goal.MAXIMIZE, 2).suggest([0], []) != make(SPACE, Goal.MAXIMIZE, 1).suggest([0], [])


@pytest.mark.parametrize(
    "strange",
    [
        {"depth": 2, "kind": "a", "lr": 0.01, "x": 0.0},
        {"depth": True, "kind": "a", "lr": 0.01, "x": 0.0},
        {"depth": 1, "kind": "b", "lr": 0.01, "x": 0.0},
        {"depth": 1, "kind": "a", "lr": "0.01", "x": 0.0},
        {"depth": 1, "kind": "a", "lr": 0.01, "x": 9},
        {"depth": 1},
        {},
    ],
)
def test_trials_that_are_not_of_the_space_are_passed_over(make: Make, strange: Combination) -> None:
    suggester = make(SPACE, Goal.MAXIMIZE, 1)
    odd = Trial(index=0, parameters=strange, told=Told.VALUE, value=1.0)
    assert suggester.suggest([1], [odd]) == suggester.suggest([1], [])


@pytest.mark.parametrize("goal", list(Goal))
def test_tpe_comes_nearer_to_what_did_well(goal: Goal) -> None:
    space = space_of({"x": Dimension(uniform=Range(min=-10, max=10))}, "space")
    sign = 1 if goal is Goal.MINIMIZE else -1
    early: list[float] = []
    late: list[float] = []
    for seed in range(4):
        suggester = OptunaSuggester(space=space, sampler=Sampler.TPE, goal=goal, seed=seed)
        trials: list[Trial] = []
        for index in range(40):
            [parameters] = suggester.suggest([index], trials)
            distance = abs(float(parameters["x"]) - 3)
            trials.append(Trial(index=index, parameters=parameters, told=Told.VALUE, value=sign * distance**2))
            (early if index < 10 else late if index >= 25 else []).append(distance)
    assert statistics.mean(late) < statistics.mean(early) * 0.7


def test_what_runs_beside_is_not_suggested_again() -> None:
    space = space_of({"x": Dimension(uniform=Range(min=0, max=1))}, "space")
    suggester = OptunaSuggester(space=space, sampler=Sampler.TPE, goal=Goal.MINIMIZE, seed=5)
    ended = [Trial(index=n, parameters={"x": n / 20}, told=Told.VALUE, value=abs(n / 20 - 0.5)) for n in range(20)]
    batch = suggester.suggest(list(range(20, 28)), ended)
    assert len({math.floor(float(one["x"]) * 100_000) for one in batch}) == 8


def test_optuna_is_not_imported_before_anybody_asks() -> None:
    program = "import sys, pinnace_operator.reconcile; print('optuna' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_an_asked_search_knows_no_parameters_before_they_are_remembered() -> None:
    optuna = OptunaSearch(count=4, space={"x": Dimension(choice=[1, 2])})
    search = search_of(Parameters(optuna=optuna), Objective(metric="loss"))
    assert isinstance(search, Asked)
    assert search.count == 4
    assert search.parameters_of(2, {}) is None
    assert search.parameters_of(2, {"x": 1, "joined": "by the training"}) == {"x": 1}


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        (Parameters(optuna=OptunaSearch(count=1, space={"x": Dimension(choice=[1])})), "needs spec.objective"),
        (
            Parameters(
                optuna=OptunaSearch(count=1, space={"x": Dimension(choice=[1])}),
                random=RandomSearch(count=1, space={"x": Dimension(choice=[1])}),
            ),
            "has random and optuna",
        ),
    ],
)
def test_a_search_that_can_not_be_asked_is_refused(parameters: Parameters, says: str) -> None:
    with pytest.raises(SearchError) as caught:
        search_of(parameters, None)
    assert says in str(caught.value)
