"""Bundles in and out of BentoML's model store; a bundle stays the same files, so its version stays the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import bentoml

from recognizer.bundle import MANIFEST, BundleError, read_manifest, version_of

MODULE = "recognizer.bundle"


def import_bundle(folder: Path) -> str:
    """Store a bundle under its name; the tag's version is the beginning of the bundle's.

    Returns:
        The tag, `name:version`.

    Raises:
        BundleError: a damaged bundle, or one that is stored already.
    """
    manifest = read_manifest(folder)
    version = version_of(folder)
    tag = f"{manifest.name}:{version.removeprefix('sha256:')[:12]}"
    try:
        with bentoml.models.create(
            tag, module=MODULE, labels={"evenvoice": "bundle"}, metadata={"version": version}
        ) as model:
            for path in folder.iterdir():
                shutil.copy2(path, model.path)
    except bentoml.exceptions.BentoMLException as error:
        raise BundleError(f"{folder} can't be stored as {tag}: {error}") from error
    return tag


def export_bundle(tag: str, folder: Path) -> None:
    """Copy a stored bundle into a new folder, and check it there.

    Raises:
        BundleError: no such tag, one that is no bundle, a folder that exists, or a copy that is damaged.
    """
    try:
        source = Path(bentoml.models.get(tag).path)
    except bentoml.exceptions.BentoMLException as error:
        raise BundleError(f"the model store has no {tag}: {error}") from error
    if not (source / MANIFEST).is_file():
        raise BundleError(f"{tag} is in the model store but is no evenvoice bundle")
    if folder.exists():
        raise BundleError(f"{folder} exists; give a new folder")
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("model.yaml"))
    read_manifest(folder)
