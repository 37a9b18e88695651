"""Progress bars of long commands: on a terminal they move, elsewhere each step is one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from recognizer.progress import OnProgress, Stage

console = Console(highlight=False, markup=False, soft_wrap=True)
"""Standard output. Long lines are the terminal's to wrap: a path that is piped or copied stays whole."""

notes = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
"""Standard error."""


@contextmanager
def bars() -> Iterator[OnProgress]:
    """A bar a stage; call the yielded function with each stage as it goes."""
    if not notes.is_terminal:
        yield _print_ends
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=notes) as progress:
        tasks: dict[str, TaskID] = {}

        def show(stage: Stage) -> None:
            if stage.name not in tasks:
                tasks[stage.name] = progress.add_task(stage.name, total=stage.total, note="")
            elif stage.done == 0:  # begun again, for the next of its kind: the time left is that of the new one
                progress.reset(tasks[stage.name])
            progress.update(tasks[stage.name], completed=stage.done, total=stage.total, note=stage.note)

        yield show


def _print_ends(stage: Stage) -> None:
    if stage.done == stage.total:
        notes.print(f"{stage.name}: {stage.total}" + (f", {stage.note}" if stage.note else ""))
