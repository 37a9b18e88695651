"""Bundles in and out of BentoML's model store, unchanged."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from robot import Evenvoice

from recognizer.bundle import load_bundle, version_of


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A model store of the test's own, whether BentoML has read its home already or not."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENTOML_DO_NOT_TRACK", "true")
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.models import ModelStore

    folder = tmp_path / "home" / "models"
    folder.mkdir(parents=True)
    BentoMLContainer.model_store.set(ModelStore(folder))
    yield folder
    BentoMLContainer.model_store.reset()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_bundle_comes_back_as_it_was(evenvoice: Evenvoice, bundle: Path, store: Path, tmp_path: Path) -> None:
    version = version_of(bundle)
    tag = f"{load_bundle(bundle).name}:{version.removeprefix('sha256:')[:12]}"
    stored = evenvoice("bundle", "import", bundle)
    assert stored.code == 0, stored.err
    assert stored.words == f"stored as {tag}"
    assert (store / tag.replace(":", "/")).is_dir()

    back = tmp_path / "back"
    assert evenvoice("bundle", "export", tag, back).code == 0
    assert version_of(back) == version
    assert files(back) == files(bundle)
    assert load_bundle(back).version == version


def test_what_is_there_is_not_overwritten(evenvoice: Evenvoice, bundle: Path, tmp_path: Path) -> None:
    tag = evenvoice("bundle", "import", bundle).words.removeprefix("stored as ")
    (tmp_path / "folder").mkdir()
    for refused, words in (
        (evenvoice("bundle", "import", bundle), "can't be stored"),
        (evenvoice("bundle", "export", tag, tmp_path / "folder"), "exists"),
        (evenvoice("bundle", "export", "nothing:1", tmp_path / "new"), "has no nothing:1"),
    ):
        assert refused.code == 1
        assert refused.err.startswith("evenvoice: ")
        assert words in refused.err
    assert not (tmp_path / "new").exists()


def test_a_damaged_bundle_is_not_stored(evenvoice: Evenvoice, bundle: Path, store: Path, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(bundle, tmp_path / "damaged"))
    (damaged / "clean.safetensors").write_bytes(b"damaged")
    refused = evenvoice("bundle", "import", damaged)
    assert refused.code == 1
    assert "damaged" in refused.err
    assert list(store.iterdir()) == []


def test_a_model_of_another_kind_is_not_taken_for_a_bundle(evenvoice: Evenvoice, tmp_path: Path) -> None:
    import bentoml

    with bentoml.models.create("other:1", module="somewhere"):
        pass
    refused = evenvoice("bundle", "export", "other:1", tmp_path / "new")
    assert refused.code == 1
    assert "no evenvoice bundle" in refused.err
    assert not (tmp_path / "new").exists()
