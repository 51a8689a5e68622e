"""Which paths a list of globs means.

`*` and `?` stay inside one folder or file name, `**` crosses folders, `[abc]` and `[!abc]` are sets. A glob without a
slash means that name in any folder (`*.tmp` also leaves out `run/a.tmp`); a glob with one means the whole path.
"""

import re
from collections.abc import Iterable


class Patterns:
    """A list of globs, compiled once. An empty list matches nothing."""

    def __init__(self, globs: Iterable[str]) -> None:
        globs = tuple(globs)
        self._everything = "**" in globs
        alternatives = "|".join(f"(?:{_regex(glob)})" for glob in globs)
        # DOTALL because a newline is a character like any other in a file name.
        self._regex = re.compile(alternatives, re.DOTALL) if alternatives else None

    def match(self, path: str) -> bool:
        """`path` is relative to the volume, with `/` between its parts."""
        return self._everything or (self._regex is not None and self._regex.fullmatch(path) is not None)


def _regex(glob: str) -> str:
    anchored = "/" in glob
    glob = glob.strip("/")
    out = "" if anchored else "(?:.*/)?"
    at = 0
    while at < len(glob):
        if glob.startswith("**/", at):
            out, at = out + "(?:.*/)?", at + 3
        elif glob.startswith("**", at):
            out, at = out + ".*", at + 2
        elif glob[at] == "*":
            out, at = out + "[^/]*", at + 1
        elif glob[at] == "?":
            out, at = out + "[^/]", at + 1
        elif glob[at] == "[" and (end := glob.find("]", at + 2)) > 0:
            inside = re.escape(glob[at + 1 : end]).replace(r"\-", "-")
            out, at = out + f"[{'^' + inside[1:] if inside.startswith('!') else inside}]", end + 1
        else:
            out, at = out + re.escape(glob[at]), at + 1
    return out
