"""Who does the jobs: this process, or several that end with it, however it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from recognizer.processes import processes, side_by_side
from recognizer.progress import OnProgress, silent
from training.study.bench import Bench, Plan
from training.study.folder import StudyError
from training.study.jobs import Finished, Job, finish

FinishAll = Callable[[Sequence[Job]], Iterator[Finished]]

_bench: Bench
"""A worker process' own."""


@contextmanager
def at_work(plan: Plan, workers: int, *, on_progress: OnProgress = silent) -> Iterator[FinishAll]:
    """Yields what does jobs, in any order, and gives each as it ends.

    An error, Ctrl-C included, ends the workers at once; so does the end of this process.

    Args:
        on_progress: told of steps within a job, where there is one process only.
    """
    if workers == 1:
        bench = Bench(plan, on_progress=on_progress)
        yield lambda jobs: (finish(job, bench) for job in jobs)
        return
    with processes(workers, _start, plan) as pool:
        yield lambda jobs: side_by_side(pool, _do, jobs, error=StudyError)


def _start(plan: Plan) -> None:
    global _bench
    _bench = Bench(plan)


def _do(job: Job) -> Finished:
    return finish(job, _bench)
