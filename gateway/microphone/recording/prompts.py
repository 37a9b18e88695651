"""What a person is asked to say, and in which order."""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass
from pathlib import Path

from recognizer.decision import UNKNOWN

_LONGEST_NAME = 60  # characters of a clip's name that are taken from the words


class PromptsError(ValueError):
    """A list of prompts that can't be used; the message says where and why."""


@dataclass(frozen=True)
class Prompt:
    """One thing to say."""

    command: str
    """Its label."""
    words: str
    """What is said."""

    @property
    def sound(self) -> str:
        """What a clip of no command is; empty for a command."""
        return self.words if self.command == UNKNOWN else ""


@dataclass(frozen=True)
class Task:
    """One take of one prompt."""

    prompt: Prompt
    take: int
    """From 0."""

    @property
    def file_name(self) -> str:
        """The same for the same words and take, and for no others."""
        name = re.sub(r"[^a-z0-9]+", "-", self.prompt.words.lower()).strip("-")[:_LONGEST_NAME]
        if name != self.prompt.words:
            name += "-" + hashlib.sha256(self.prompt.words.encode()).hexdigest()[:6]
        return f"{name}_{self.take}.wav"


def read_prompts(path: Path) -> tuple[Prompt, ...]:
    """A file with a command a line; `command: words` where other words are said for it, such as `unknown: coffee`.
    Empty lines, and those that begin with `#`, are passed over.

    Raises:
        PromptsError: no such file, or nothing or the same words twice in it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise PromptsError(f"{path} can't be read as a list of prompts: {error}") from None
    prompts: dict[str, Prompt] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        command, colon, said = (" ".join(part.split()) for part in line.partition(":"))
        words = said if colon else command
        if not command or not words:
            raise PromptsError(f"{path}, line {number}: {line!r} is neither a command nor `command: words`")
        if words in prompts:
            raise PromptsError(
                f"{path}, line {number}: {words!r} stands there twice; --takes asks for more takes of it"
            )
        prompts[words] = Prompt(command, words)
    if not prompts:
        raise PromptsError(f"{path} has no prompts; write a command a line")
    return tuple(prompts.values())


def shuffled(prompts: tuple[Prompt, ...], *, takes: int, seed: int, speaker: str) -> list[Task]:
    """Every prompt once, then every prompt again, and so on, each round in an order of its own: neither practice nor
    weariness falls on the same words. The same arguments give the same order."""
    tasks: list[Task] = []
    for take in range(takes):
        round_ = [Task(prompt, take) for prompt in prompts]
        random.Random(f"{seed} {speaker} {take}").shuffle(round_)
        tasks += round_
    return tasks
