"""How often one may try to log in: pure arithmetic.

Every attempt counts as failed until it succeeded, so that many at the same moment can't slip through together. After
the free ones each failure doubles the wait. Names are counted whether or not they exist.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

#: Wrong ones in a row before there is a wait.
FREE_BY_NAME: Final = 5
#: Many people may share an address.
FREE_BY_ADDRESS: Final = 50
LONGEST: Final = timedelta(minutes=15)
#: Without an attempt for this long, all is forgotten.
MEMORY: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """What is known of one name or one address."""

    failures: int
    last_at: datetime
    blocked_until: datetime

    def wait(self, moment: datetime) -> timedelta:
        """How long until the next attempt is let through; zero or less: now."""
        return self.blocked_until - moment

    def failed(self, moment: datetime, free: int) -> "Attempts":
        """After one more that is wrong, or not known to be right yet."""
        failures = 1 if moment - self.last_at > MEMORY else self.failures + 1
        return Attempts(failures=failures, last_at=moment, blocked_until=moment + delay(failures, free))

    def succeeded(self, moment: datetime, *, forgive: bool) -> "Attempts":
        """After the attempt turned out right: it was no failure; `forgive`: neither were those before."""
        failures = 0 if forgive else max(0, self.failures - 1)
        return Attempts(failures=failures, last_at=moment, blocked_until=moment)


def delay(failures: int, free: int) -> timedelta:
    """The wait after so many wrong ones: 0 up to `free`, then 2, 4, 8 … seconds, 15 minutes at most."""
    if failures < free:
        return timedelta(0)
    return min(LONGEST, timedelta(seconds=2 ** min(failures - free + 1, 20)))
