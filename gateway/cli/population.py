"""A labelled population that talks to a gateway over HTTP, and the table of whom it turned away."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from gateway.client import Client
from monitoring.report import SHORT, Grid
from recognizer.decision import OUTCOME_OF, UNKNOWN, Outcome
from recognizer.defense import DefenseName
from recognizer.manifest import Manifest
from recognizer.progress import OnProgress, Stage, silent


@dataclass(frozen=True)
class Spoken:
    """One command sent to the gateway, and what came of it."""

    defense: DefenseName
    speaker: str
    groups: dict[str, str]
    outcome: Outcome
    is_correct: bool
    milliseconds: float


def send(url: str, manifest: Manifest, *, commands_a_speaker: int, on_progress: OnProgress = silent) -> list[Spoken]:
    """Each speaker says some commands, once a defense, and then tells the gateway what was said.

    Raises:
        click.ClickException: the gateway gave no answer.
    """
    table = manifest.table[manifest.table["command"] != UNKNOWN]
    chosen = table.groupby("speaker", sort=True).sample(n=commands_a_speaker, random_state=0).to_dict("records")
    spoken: list[Spoken] = []
    with Client(url, timeout=10.0) as client:
        for done, row in enumerate(chosen, start=1):
            audio, command = Path(str(row["path"])).read_bytes(), str(row["command"])
            for defense in DefenseName:
                answer = client.decide(audio, speaker=str(row["speaker"]), defense=defense)
                if answer.response is None:
                    raise click.ClickException(f"the gateway did not answer: {answer.detail}")
                is_correct = answer.command == command
                client.label(answer.response.request_id, command)
                spoken.append(
                    Spoken(
                        defense=defense,
                        speaker=str(row["speaker"]),
                        groups={a: str(row[a]) for a in manifest.attributes},
                        outcome=OUTCOME_OF[answer.response.reason],
                        is_correct=is_correct,
                        milliseconds=answer.response.timings_ms["total"],
                    )
                )
            on_progress(Stage("asking the gateway", done, len(chosen)))
    return spoken


def totals(spoken: Sequence[Spoken]) -> dict[str, dict[str, float]]:
    """Defense -> share rejected, share correct, median milliseconds a command."""
    return {
        str(defense): {
            "rejected": _share(part, _is_rejected),
            "correct": _share(part, lambda s: s.is_correct),
            "milliseconds": statistics.median(s.milliseconds for s in part),
        }
        for defense in DefenseName
        if (part := [s for s in spoken if s.defense is defense])
    }


def tables(spoken: Sequence[Spoken], attributes: Sequence[str]) -> Iterator[Grid]:
    """False rejections and accuracy, for all and by each attribute's groups, the defenses side by side."""
    yield _table("Over HTTP, all voices", "", {"all": spoken})
    for attribute in attributes:
        groups = sorted({s.groups[attribute] for s in spoken})
        parts = {group: [s for s in spoken if s.groups[attribute] == group] for group in groups}
        yield _table(f"Over HTTP, by {attribute}", attribute, parts)


def _table(title: str, first: str, parts: Mapping[str, Sequence[Spoken]]) -> Grid:
    names = "/".join(SHORT[d] for d in DefenseName)
    columns = (first, "speakers", "commands", f"rejected, %\n{names}", f"correct, %\n{names}")
    rows = tuple(
        (
            group,
            str(len({s.speaker for s in part})),
            str(len(part) // len(DefenseName)),
            _side_by_side(part, _is_rejected),
            _side_by_side(part, lambda s: s.is_correct),
        )
        for group, part in parts.items()
    )
    return Grid(title, columns, rows)


def _side_by_side(part: Sequence[Spoken], holds: Callable[[Spoken], bool]) -> str:
    return "/".join(f"{100 * _share([s for s in part if s.defense is d], holds):.1f}" for d in DefenseName)


def _is_rejected(spoken: Spoken) -> bool:
    return spoken.outcome is Outcome.REJECTED


def _share(part: Sequence[Spoken], holds: Callable[[Spoken], bool]) -> float:
    return sum(holds(s) for s in part) / len(part)
