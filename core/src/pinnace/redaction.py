"""Hiding what looks like a secret in what is recorded about a run. Pure.

Best effort: it knows names and shapes that secrets usually have. What must stay secret belongs into a file or a Secret.
"""

import re
from collections.abc import Sequence
from typing import Final

HIDDEN: Final = "<hidden>"

_NAME: Final = re.compile(
    r"(?i)(pass(word|wd|phrase)?|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|credential|auth)(?![a-z])"
)
#: Values that some service gives out as keys, and JSON web tokens.
_VALUE: Final = re.compile(
    r"(pnc_|ghp_|gho_|ghs_|github_pat_|glpat-|hf_|sk-|xox[abpr]-|AKIA|ASIA|eyJ[\w-]{8,}\.)[\w.=/+-]{8,}"
)
_USER: Final = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def is_secret_name(name: str) -> bool:
    """`HF_TOKEN`, `--db-password`, `apiKey`."""
    return bool(_NAME.search(re.sub(r"([a-z])([A-Z])", r"\1_\2", name)))


def hidden_in(text: str) -> str:
    """`text` without users in addresses and without known kinds of keys."""
    return _VALUE.sub(HIDDEN, _USER.sub(HIDDEN, text))


def hidden_arguments(arguments: Sequence[str]) -> list[str]:
    """A command line: values of options and assignments whose name says that they are secret are hidden as well."""
    shown: list[str] = []
    next_is_secret = False
    for argument in arguments:
        name, assigns, _ = argument.partition("=")
        if next_is_secret and not argument.startswith("-"):
            shown.append(HIDDEN)
        elif assigns and is_secret_name(name):
            shown.append(f"{name}={HIDDEN}")
        else:
            shown.append(hidden_in(argument))
        next_is_secret = not assigns and argument.startswith("-") and is_secret_name(name)
    return shown
