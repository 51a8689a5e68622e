"""Optuna as a Suggester. Its study is built anew, in memory, for each question.

Optuna takes half a second and some 35 MiB to import, so that is done when the first Experiment asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pinnace_operator.experiment_spec import Goal, Sampler
from pinnace_operator.search.asking import Told, Trial
from pinnace_operator.search.sampling import number_of
from pinnace_operator.search.spaces import Choices, Floats, Integers, Space, Values
from pinnace_operator.search.values import Combination, Scalar

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

#: What Optuna's samplers take for a seed.
_SEED_BITS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class OptunaSuggester:
    space: Space
    sampler: Sampler
    goal: Goal
    seed: int

    def suggest(self, indexes: Sequence[int], trials: Sequence[Trial]) -> tuple[Combination, ...]:
        import optuna  # noqa: PLC0415 - see above

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        distributions = {name: _distribution(values) for name, values in self.space.items()}
        direction = optuna.study.StudyDirection[self.goal.name]
        study = optuna.create_study(direction=direction, sampler=self._sampler(indexes[0]))
        for trial in sorted(trials, key=lambda trial: trial.index):
            if (frozen := self._frozen(trial, distributions)) is not None:
                study.add_trial(frozen)
        found: list[Combination] = []
        for index in indexes:
            # A sampler that began with one seed for all would say the same each time that the study is built.
            study.sampler = self._sampler(index)
            asked = study.ask(distributions)
            found.append({name: _value(values, asked.params[name]) for name, values in self.space.items()})
        return tuple(found)

    def _sampler(self, index: int) -> "BaseSampler":
        from optuna.samplers import RandomSampler, TPESampler  # noqa: PLC0415

        seed = number_of(self.seed, index, f"optuna {self.sampler}") % 2**_SEED_BITS
        if self.sampler is Sampler.RANDOM:
            return RandomSampler(seed=seed)
        # Those that still run count as bad ones, so that iterations side by side try different things.
        return TPESampler(seed=seed, constant_liar=True)

    def _frozen(self, trial: Trial, distributions: "dict[str, BaseDistribution]") -> "FrozenTrial | None":
        from optuna.trial import TrialState, create_trial  # noqa: PLC0415

        params: dict[str, Any] = {}
        for name, values in self.space.items():
            known = _known(values, trial.parameters.get(name))
            if known is None:
                return None
            params[name] = known
        has_value = trial.value is not None
        states = {
            Told.VALUE: TrialState.COMPLETE if has_value else TrialState.FAIL,
            Told.STOPPED: TrialState.PRUNED if has_value else TrialState.FAIL,
            Told.NOTHING: TrialState.FAIL,
            Told.PENDING: TrialState.RUNNING,
        }
        state = states[trial.told]
        return create_trial(
            state=state,
            params=params,
            distributions=distributions,
            value=trial.value if state is TrialState.COMPLETE else None,
            intermediate_values={0: trial.value} if state is TrialState.PRUNED and trial.value is not None else None,
        )


def _distribution(values: Values) -> "BaseDistribution":
    from optuna.distributions import (  # noqa: PLC0415
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    match values:
        case Floats():
            return FloatDistribution(values.low, values.high, log=values.log)
        case Integers():
            return IntDistribution(values.low, values.high, step=values.step)
        case Choices():
            # By their places: Python takes 1, 1.0 and True for the same.
            return CategoricalDistribution(range(len(values.values)))


def _value(values: Values, found: Any) -> Scalar:
    match values:
        case Floats():
            return float(found)
        case Integers():
            return int(found)
        case Choices():
            return values.values[int(found)]


def _known(values: Values, value: Scalar | None) -> int | float | None:
    """`value` as Optuna's study has it; None when it isn't in the space."""
    match values:
        case Floats():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return float(value) if is_number and values.low <= value <= values.high else None  # type: ignore[operator,arg-type]
        case Integers():
            is_integer = isinstance(value, int) and not isinstance(value, bool)
            fits = is_integer and values.low <= value <= values.high and (value - values.low) % values.step == 0  # type: ignore[operator]
            return value if fits else None  # type: ignore[return-value]
        case Choices():
            same = [place for place, one in enumerate(values.values) if one == value and type(one) is type(value)]
            return same[0] if same else None
