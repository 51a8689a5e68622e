"""What our engine leaves in the packet filter and the network, and how to take exactly that back."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from cluster.commands import Commands

#: The bridge of kind's network on our own engine.
BRIDGE = "pinnace0"
#: Docker's chains begin with it.
CHAINS = "DOCKER"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
DOCKER_LINK = re.compile(r"veth[0-9a-f]{7}")
TOOLS = ("iptables", "ip6tables")
TABLES = ("filter", "nat")


def undo(table: str, rules: Iterable[str], *, policy: str) -> list[list[str]]:
    """Arguments for iptables that take back Docker's part of a table, given what `iptables -t TABLE -S` prints.

    First the rules that jump to Docker's chains or name our bridge, then the chains; FORWARD's policy, which Docker
    sets to DROP, becomes `policy` again.
    """
    split = [rule.split() for rule in rules]
    removed = [
        ["-D", *rule[1:]]
        for rule in split
        if rule[:1] == ["-A"]
        and not rule[1].startswith(CHAINS)
        and (BRIDGE in rule or _target(rule).startswith(CHAINS))
    ]
    chains = [rule[1] for rule in split if rule[:1] == ["-N"] and rule[1].startswith(CHAINS)]
    flushed = [["-F", chain] for chain in chains]
    deleted = [["-X", chain] for chain in chains]
    policies = [["-P", "FORWARD", policy] for rule in split if rule[:2] == ["-P", "FORWARD"] and rule[2:] != [policy]]
    return [["-t", table, *step] for step in (*removed, *flushed, *deleted, *(policies if table == "filter" else []))]


def _target(rule: Sequence[str]) -> str:
    return rule[rule.index("-j") + 1] if "-j" in rule else ""


def strays(links: str) -> list[str]:
    """Host ends of container links, by Docker's way of naming them, that hang on no bridge any more."""
    return [
        link["ifname"] for link in json.loads(links) if "master" not in link and DOCKER_LINK.fullmatch(link["ifname"])
    ]


def forward_policy(commands: Commands) -> str:
    """FORWARD's policy at present; ACCEPT, the kernel's default, where there is no iptables to ask."""
    words = (commands.try_answer("iptables", "-S", "FORWARD") or "").split()
    return words[2] if words[:2] == ["-P", "FORWARD"] else "ACCEPT"


def clear(commands: Commands, *, policy: str, forwarding: str) -> None:
    """Take back the rules, the bridge and the forwarding that our engine brought."""
    for tool in TOOLS:
        for table in TABLES:
            rules = commands.try_answer(tool, "-t", table, "-S") or ""
            for step in undo(table, rules.splitlines(), policy=policy):
                commands.try_answer(tool, *step)
    for link in (BRIDGE, *strays(commands.try_answer("ip", "-json", "link", "show", "type", "veth") or "[]")):
        commands.try_answer("ip", "link", "delete", link)
    if forwarding and FORWARDING.read_text(encoding="ascii").strip() != forwarding:
        FORWARDING.write_text(forwarding, encoding="ascii")
