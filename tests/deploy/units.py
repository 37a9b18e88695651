"""systemd's unit files, read without systemd."""

from __future__ import annotations

import shlex
import subprocess
from collections import defaultdict
from pathlib import Path

SYSTEMD = Path(__file__).parent.parent.parent / "deploy" / "systemd"
PROGRAM = "/opt/evenvoice/bin/evenvoice"


def unit(name: str) -> dict[str, list[str]]:
    """Setting -> its values in order, of all sections."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in (SYSTEMD / name).read_text().replace("\\\n", " ").splitlines():
        if line and line[0] not in "#;[":
            setting, _, value = line.partition("=")
            found[setting].append(value)
    return dict(found)


def environment_file(name: str) -> dict[str, str]:
    """Variable -> value."""
    lines = (SYSTEMD / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def command_of(name: str, variables: dict[str, str]) -> list[str]:
    """The words of ExecStart: `${NAME}` is put in within a word, `$NAME` alone becomes words."""
    words: list[str] = []
    for word in shlex.split(unit(name)["ExecStart"][0]):
        if word.startswith("$") and not word.startswith("${"):
            words += variables[word[1:]].split()
        else:
            for variable, value in variables.items():
                word = word.replace(f"${{{variable}}}", value)
            words.append(word)
    return words


def system_calls(filters: list[str]) -> set[str]:
    """What SystemCallFilter= lines leave allowed: the first says what, those with `~` take away."""
    allowed: set[str] = set()
    for line in filters:
        names = {call for group in line.lstrip("~").split() for call in _expanded(group)}
        allowed = allowed - names if line.startswith("~") else allowed | names
    return allowed | _expanded("@default")


def _expanded(group: str) -> set[str]:
    if not group.startswith("@"):
        return {group}
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", group, "--no-pager"], check=True, capture_output=True, text=True
    ).stdout
    names = [line.strip() for line in listed.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return {call for name in names for call in _expanded(name)}
