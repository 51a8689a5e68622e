"""How the parameters of iterations come to be: by a list, a grid, chance, or an optimiser that is asked."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pinnace_operator.experiment_spec import Objective, Parameters, RandomSearch
from pinnace_operator.search.asking import Suggester
from pinnace_operator.search.listing import of_grid, of_list
from pinnace_operator.search.optuna_suggester import OptunaSuggester
from pinnace_operator.search.sampling import draw
from pinnace_operator.search.spaces import Space, space_of
from pinnace_operator.search.values import Combination, SearchError, check_count

WAYS = ("grid", "list", "random", "optuna")

#: Random searches whose combinations are kept, because each look asks for them twice: as many as are looked at at once.
DRAWN: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Every combination is known from the start."""

    combinations: tuple[Combination, ...]

    @property
    def count(self) -> int:
        return len(self.combinations)

    def parameters_of(self, index: int, _remembered: Mapping[str, Any]) -> Combination | None:
        return self.combinations[index]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The parameters of an iteration are asked for when it is about to start."""

    count: int
    space: Space
    suggester: Suggester

    def parameters_of(self, _index: int, remembered: Mapping[str, Any]) -> Combination | None:
        """Out of what is remembered of the iteration, where more may have joined; None: not asked for yet."""
        if not self.space.keys() <= remembered.keys():
            return None
        return {name: remembered[name] for name in self.space}


Search = Listed | Asked


def search_of(parameters: Parameters | None, objective: Objective | None) -> Search:
    """Without parameters: one iteration that has none. Raises SearchError."""
    if parameters is None:
        return Listed(combinations=({},))
    given = [way for way in WAYS if getattr(parameters, way) is not None]
    if len(given) != 1:
        raise SearchError(
            "spec.parameters takes exactly one of grid, list, random and optuna, and has "
            f"{' and '.join(given) or 'none'}: keep one of them, or leave spec.parameters out"
        )
    if parameters.grid is not None:
        return Listed(combinations=of_grid(parameters.grid))
    if parameters.list is not None:
        return Listed(combinations=of_list(parameters.list))
    if parameters.random is not None:
        return Listed(combinations=_drawn(msgspec.msgpack.encode(parameters.random)))
    return _asked(parameters, objective)


@functools.lru_cache(maxsize=DRAWN)
def _drawn(written: bytes) -> tuple[Combination, ...]:
    """Packed, because 1, 1.0 and True are one key and not one value. Nobody may change what comes back."""
    random = msgspec.msgpack.decode(written, type=RandomSearch)
    check_count(random.count)
    space = space_of(random.space, "spec.parameters.random.space")
    return tuple(draw(space, random.seed, index) for index in range(random.count))


def _asked(parameters: Parameters, objective: Objective | None) -> Asked:
    optuna = parameters.optuna
    assert optuna is not None
    check_count(optuna.count)
    if objective is None:
        raise SearchError(
            "spec.parameters.optuna needs spec.objective, because Optuna chooses by what earlier iterations came to: "
            "name the metric there, or use random"
        )
    space = space_of(optuna.space, "spec.parameters.optuna.space")
    suggester = OptunaSuggester(space=space, sampler=optuna.sampler, goal=objective.goal, seed=optuna.seed)
    return Asked(count=optuna.count, space=space, suggester=suggester)
