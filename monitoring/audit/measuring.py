"""The shards of an audit measured, in this process, in several or on the nodes of a cluster, but for those that earlier
runs finished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import cache

import torch

from monitoring.audit.errors import AuditError
from monitoring.audit.folder import AuditFolder
from monitoring.audit.nodes import Nodes, measured_on
from monitoring.audit.plan import AuditPlan
from monitoring.audit.shards import Measured, Shard
from recognizer.processes import processes, side_by_side
from recognizer.progress import OnProgress, Stage, silent
from recognizer.recognizer import Recognizer

Load = Callable[[], Recognizer]
"""The recogniser again, for a worker."""


def measured_shards(
    plan: AuditPlan,
    recognizer: Recognizer,
    folder: AuditFolder | None,
    *,
    workers: int,
    load: Load | None,
    nodes: Nodes | None,
    hashes: Sequence[str],
    on_progress: OnProgress,
) -> dict[str, Measured]:
    """Every shard by its name, those of earlier runs too.

    Args:
        folder: where they are kept; None keeps them in memory only.
        workers: processes; one where there is no `load`.
        nodes: what measures instead of processes.
        hashes: sha256 of each clip of the plan, in its order.

    Raises:
        AuditError: a shard can't be measured, written or read again.
        ClusterError: the cluster can't do it.
    """
    new: dict[str, Measured] = {}
    left = {shard: None for shard in plan.shards if not (folder and folder.has(shard))}
    done: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for shard in plan.shards:
        total[shard.kind] += shard.size(plan)
        done[shard.kind] += 0 if shard in left else shard.size(plan)
    coming = (
        _at_work(plan, list(left), recognizer, workers, load, done, total, on_progress)
        if nodes is None
        else measured_on(nodes, plan, list(left), hashes)
    )
    with closing(coming):  # an error here, Ctrl-C included, ends the work there
        for shard, measured in coming:
            if folder:
                folder.keep(shard, measured)
            else:
                new[shard.name] = measured
            done[shard.kind] += shard.size(plan)
            on_progress(Stage(shard.kind, done[shard.kind], total[shard.kind]))
    if folder is None:
        return new
    # read again, new ones too: what a table is in memory must not depend on which run measured it
    return {shard.name: found for shard in plan.shards if (found := folder.found(shard)) is not None}


def _at_work(
    plan: AuditPlan,
    shards: Sequence[Shard],
    recognizer: Recognizer,
    workers: int,
    load: Load | None,
    done: Counter[str],
    total: Counter[str],
    on_progress: OnProgress,
) -> Generator[tuple[Shard, Measured], None, None]:
    if workers > 1 and load is not None and len(shards) > 1:
        with processes(min(workers, len(shards)), _start, plan, load) as pool:
            yield from side_by_side(pool, _do, shards, error=AuditError)
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker: sums in one order, whatever the machine
    try:
        for shard in shards:

            def within(stage: Stage, kind: str = shard.kind) -> None:
                if stage.name == kind and stage.done < stage.total:
                    on_progress(Stage(kind, done[kind] + stage.done, total[kind], stage.note))

            yield shard, shard.measure(plan, recognizer, within)
    finally:
        torch.set_num_threads(threads)


_at_hand: tuple[AuditPlan, Load]
"""A worker process' own."""


def _start(plan: AuditPlan, load: Load) -> None:
    global _at_hand
    _at_hand = plan, cache(load)  # called with the first shard: what goes wrong in it is told from there only


def _do(shard: Shard) -> tuple[Shard, Measured]:
    plan, load = _at_hand
    recognizer = load()
    if recognizer.version != plan.version:
        raise AuditError(
            f"the bundle was replaced while the audit ran: {plan.version} before, now {recognizer.version}"
        )
    return shard, shard.measure(plan, recognizer, silent)
