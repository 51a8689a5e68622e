"""How many examples a property is tried with: all of them in the whole suite, a share of them while one works."""

from hypothesis import settings

_USUAL = 100


def examples(count: int) -> int:
    """`count` where a property without a number of its own has a hundred, and as much less where it has less."""
    return max(1, count * settings.get_profile(settings.get_current_profile_name()).max_examples // _USUAL)
