"""Shards measured on the nodes of a cluster: what a node hears is, to the byte, what the audit was begun on."""

from __future__ import annotations

import hashlib
import socket
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

from monitoring.audit.errors import AuditError
from monitoring.audit.plan import AuditPlan
from monitoring.audit.shards import Measured, Shard
from recognizer.cluster import Cluster, check_device
from recognizer.manifest import Manifest
from recognizer.parcel import Parcel
from recognizer.progress import silent
from recognizer.recognizer import Recognizer


@dataclass(frozen=True)
class Nodes:
    """Where an audit is measured.

    Attributes:
        bundle: it travels.
        ships_audio: so do the clips; otherwise every node has them under the paths of the manifest.
        device: that the workers compute on.
    """

    cluster: Cluster
    bundle: Parcel
    ships_audio: bool = False
    device: str = "cpu"


@dataclass(frozen=True)
class Errand:
    """A shard on its way to a node.

    Attributes:
        hashes: sha256 of its clips, by their names.
        files: their bytes, where they travel.
    """

    shard: Shard
    hashes: Mapping[str, str]
    files: Mapping[str, bytes] | None


def measured_on(
    nodes: Nodes, plan: AuditPlan, shards: Sequence[Shard], hashes: Sequence[str]
) -> Generator[tuple[Shard, Measured], None, None]:
    """Shards, each as it ends.

    Args:
        hashes: sha256 of each clip of the plan, in its order.

    Raises:
        AuditError: a shard can't be measured, or a node does not see what it needs.
        ClusterError: the cluster can't do it.
    """
    hash_of = dict(zip(plan.clips, hashes, strict=True))
    if nodes.ships_audio:
        _check_names(plan)

    def errands() -> Iterator[Errand]:
        for shard in shards:
            names = shard.clips(plan)
            files = {name: _read(path) for name, path in _paths(plan, names)} if nodes.ships_audio else None
            yield Errand(shard, {name: hash_of[name] for name in names}, files)

    with nodes.cluster.at_work(partial(_begin, plan, nodes.bundle, nodes.device), _run) as measure_all:
        yield from measure_all(errands())


def _begin(plan: AuditPlan, bundle: Parcel, device: str) -> tuple[AuditPlan, Recognizer]:
    check_device(device)
    recognizer = bundle.load(device=device)
    if recognizer.version != plan.version:
        raise AuditError(f"the bundle was replaced as the audit began: {plan.version} before, now {recognizer.version}")
    return plan, recognizer


def _run(bench: tuple[AuditPlan, Recognizer], errand: Errand) -> tuple[Shard, Measured]:
    plan, recognizer = bench
    shard = errand.shard
    if errand.files is None:
        for name, path in _paths(plan, shard.clips(plan)):
            _check_bytes(_read(path), errand.hashes[name], path)
        return shard, shard.measure(plan, recognizer, silent)
    with tempfile.TemporaryDirectory(prefix="evenvoice-") as root:
        for name, data in errand.files.items():
            path = Path(root, name)
            _check_bytes(data, errand.hashes[name], Path(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        found = shard.measure(_unpacked(plan, root), recognizer, silent)
        original = {name: str(path) for name, path in _paths(plan, tuple(errand.files))}
        unheard = [
            u.model_copy(update={"why": u.why.replace(str(Path(root, u.clip)), original[u.clip])})
            for u in found.unheard
        ]
        return shard, replace(found, unheard=tuple(unheard))


@dataclass(frozen=True)
class _UnpackedPlan(AuditPlan):
    """A plan whose clips lie in a folder, under their names."""

    root: str = ""

    def rows(self, clips: Sequence[str]) -> Manifest:
        rows = super().rows(clips)
        return Manifest(rows.table.assign(path=[str(Path(self.root, name)) for name in clips]), rows.attributes)


def _unpacked(plan: AuditPlan, root: str) -> _UnpackedPlan:
    unpacked = _UnpackedPlan(**{field.name: getattr(plan, field.name) for field in fields(plan)}, root=root)
    vars(unpacked).update(vars(plan))  # what it has worked out, too: it is the same for every shard
    return unpacked


def _paths(plan: AuditPlan, names: Sequence[str]) -> Iterator[tuple[str, Path]]:
    return zip(names, map(Path, plan.rows(names).table["path"]), strict=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AuditError(
            f"the node {socket.gethostname()} can't read {path} ({error.strerror}); every node needs the clips under "
            "the manifest's paths. Share that folder, or send the clips along with --ship-audio"
        ) from None


def _check_bytes(data: bytes, expected: str, path: Path) -> None:
    if hashlib.sha256(data).hexdigest() != expected:
        raise AuditError(
            f"the node {socket.gethostname()} has other bytes in {path} than the audit was begun on; copy the corpus "
            "there anew, or send the clips along with --ship-audio"
        )


def _check_names(plan: AuditPlan) -> None:
    """A clip is unpacked under its name, of which its noise is drawn: the file's name and two folders."""
    for name in plan.clips:
        if name.startswith("/") or ".." in Path(name).parts or len(Path(name).parts) < 3:
            raise AuditError(
                f"the clip {name} can't be sent along: it lies in the file system's root, or its path leads through "
                "'..'; name it in the manifest by another path"
            )
