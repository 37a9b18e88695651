"""The fenced blocks of the documentation, with the marks over them: HTML comments, which no reader sees.

A block of Bash or Python is run, in order with the others of its page, unless a mark says otherwise:

<!-- run elsewhere: tests/x.py::test_y -->   that test, or that script, runs it
<!-- needs: a microphone -->                 what a test has not got, one of NEEDS
<!-- long: minutes -->                       it would take so long: `seconds`, `minutes`, `hours` or `days`
<!-- serves -->                              its last command serves until it is stopped: the blocks after it ask it
<!-- given: key = "ev_..." -->               run before it, in its language: what the page has said in words
<!-- prints -->                              over a block of text: what the block before it prints, to the letter
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUN = ("bash", "python")
SHOWN = ("text", "json", "yaml", "toml", "ini", "sql", "promql", "javascript", "nginx", "haproxy", "dockerfile")
NEEDS = (
    "a microphone",
    "a GPU",
    "real speech",
    "an installation",
    "another machine",
    "a container engine",
    "a Kubernetes cluster",
    "a Ray cluster",
    "a Grafana",
    "a Prometheus",
    "a systemd host",
    "a scheduler",
    "a load balancer",
    "a PostgreSQL",
    "a broker",
    "a repository",
)
LONG = ("seconds", "minutes", "hours", "days")
KINDS = ("run elsewhere", "needs", "long", "serves", "given", "prints")
_FENCE = re.compile(r"(?P<indent> *)```(?P<language>\S*)\s*$")
_MARK = re.compile(r"\s*<!--\s*(?P<kind>[a-z ]+?)(?::\s*(?P<words>.*?))?\s*-->\s*$")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    """Of the fence, from 1."""
    language: str
    code: str
    marks: tuple[tuple[str, str], ...]
    """Kind and words, from the top."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def said(self, kind: str) -> list[str]:
        """The words of every mark of a kind."""
        return [words for found, words in self.marks if found == kind]

    @cached_property
    def is_code(self) -> bool:
        return self.language in RUN

    @cached_property
    def is_run(self) -> bool:
        """Whether the tests of the documentation run it."""
        return self.is_code and not any(self.said(kind) for kind in ("run elsewhere", "needs", "long"))


def pages() -> list[Path]:
    """Every page that a reader follows: the README, and docs/ but for what is written from the code."""
    docs = ROOT / "docs"
    return [ROOT / "README.md", *sorted(p for p in docs.rglob("*.md") if docs / "reference" not in p.parents)]


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page, in order.

    Raises:
        ValueError: a fence that is not closed.
    """
    found: list[Block] = []
    marks: list[tuple[str, str]] = []
    opened: tuple[int, str, str] | None = None
    code: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.match(line)
        if opened is not None:
            start, indent, language = opened
            if fence is not None and not fence["language"]:
                found.append(Block(page, start, language, "\n".join(code), tuple(marks)))
                opened, code, marks = None, [], []
            else:
                code.append(line.removeprefix(indent))
        elif fence is not None:
            opened = (number, fence["indent"], fence["language"])
        elif mark := _MARK.match(line):
            marks.append((mark["kind"], mark["words"] or ""))
        elif line.strip():
            marks = []
    if opened is not None:
        raise ValueError(f"{page}:{opened[0]}: the block is not closed")
    return found
