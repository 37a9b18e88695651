"""Another bundle while commands come: none is lost, none is of two bundles, and a bad bundle changes nothing."""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from robot import Door, Spoken, total
from waiting import until

from gateway.deciding.engine import Engine
from gateway.deciding.watch import BundleWatch, Sight, sight_of
from recognizer.bundle import load_bundle
from recognizer.recognizer import Recognizer

Open = Callable[..., Door]


def renamed(recognizer: Recognizer, version: str) -> Recognizer:
    return replace(recognizer, version=f"sha256:{version * 64}")


def test_every_command_is_answered_by_one_bundle_while_they_change(
    open_door: Open, recognizer: Recognizer, spoken: Spoken
) -> None:
    versions = "0123456"
    door = open_door(renamed(recognizer, "0"), release_commands=1, release_speakers=1)
    stop = threading.Event()

    def ask() -> list[tuple[str, str]]:
        said = []
        while not stop.is_set():
            answer = door.decide(spoken.data, defense="none", speaker=spoken.speaker)
            assert answer.status_code == 200
            said.append((answer.json()["request_id"], answer.json()["model"]["version"]))
        return said

    with ThreadPoolExecutor(3) as callers:
        asking = [callers.submit(ask) for _ in range(3)]
        for version in versions[1:]:
            time.sleep(0.15)
            door.gateway.swap(door.engine(renamed(recognizer, version)))
        time.sleep(0.15)
        stop.set()
        said = dict(pair for future in asking for pair in future.result())
    assert {row["request_id"]: row["model"] for row in door.rows} == said
    assert set(said.values()) == {f"sha256:{version * 64}" for version in versions}
    samples = door.samples
    for version in versions:
        counted = total(samples, "evenvoice_group_commands_total", attribute="accent", model=version * 12)
        assert counted == sum(model == f"sha256:{version * 64}" for model in said.values())
        serving = total(samples, "evenvoice_model_info", version=f"sha256:{version * 64}", defense="none")
        assert serving == (1 if version == versions[-1] else 0)


def test_a_label_of_an_earlier_bundles_decision_is_counted_as_that_bundles(
    open_door: Open, recognizer: Recognizer, spoken: Spoken
) -> None:
    door = open_door(renamed(recognizer, "a"), release_commands=1, release_speakers=1)
    decided = door.decide(spoken.data, defense="none", speaker=spoken.speaker).json()
    door.gateway.swap(door.engine(renamed(recognizer, "b")))
    assert door.label(decided["request_id"], spoken.command).json()["result"] == "correct"
    counted = {
        dict(labels)["model"]: value
        for (name, labels), value in door.samples.items()
        if name == "evenvoice_group_labelled_total" and value
    }
    assert counted == {"a" * 12: 1.0}


def test_the_old_bundles_threads_end(open_door: Open, recognizer: Recognizer) -> None:
    door = open_door(renamed(recognizer, "a"))
    before = threading.active_count()
    for version in "bcdef":
        door.gateway.swap(door.engine(renamed(recognizer, version)))
    assert threading.active_count() == before


# The folder


@pytest.fixture
def folder(bundle: Path, tmp_path: Path) -> Path:
    """A symbolic link to a copy of the bundle."""
    shutil.copytree(bundle, tmp_path / "first")
    (tmp_path / "served").symlink_to(tmp_path / "first")
    return tmp_path / "served"


def point(link: Path, target: Path) -> None:
    """In one step."""
    new = link.with_name("new")
    new.symlink_to(target)
    new.replace(link)


def other_bundle(bundle: Path, target: Path) -> Path:
    """The same bundle under another name, and so of another version."""
    shutil.copytree(bundle, target)
    manifest, sums = target / "bundle.json", target / "SHA256SUMS"
    before = hashlib.sha256(manifest.read_bytes()).hexdigest()
    manifest.write_text(manifest.read_text().replace('"name": "tones"', '"name": "other"'))
    sums.write_text(sums.read_text().replace(before, hashlib.sha256(manifest.read_bytes()).hexdigest()))
    return target


def watch(door: Door, folder: Path, tried: list[str], served: Sight = None) -> BundleWatch:
    def load() -> Engine:
        tried.append(str(folder.resolve()))
        engine = door.engine(load_bundle(folder))
        engine.warm_up()
        return engine

    return BundleWatch(door.gateway, folder, load=load, seconds=0.05, served=served or sight_of(folder))


def test_a_new_bundle_in_the_folder_is_served(open_door: Open, folder: Path, bundle: Path, spoken: Spoken) -> None:
    door = open_door(load_bundle(folder))
    tried: list[str] = []
    watching = watch(door, folder, tried)
    before = door.decide(spoken.data, defense="none").json()["model"]
    point(folder, other_bundle(bundle, folder.parent / "second"))
    assert until(lambda: door.gateway.recognizer.name == "other")
    after = door.decide(spoken.data, defense="none").json()
    assert after["model"]["version"] != before["version"]
    assert after["command"] == spoken.command
    watching.close()
    assert len(tried) == 1


@pytest.mark.parametrize("damage", ["weights", "manifest", "gone", "empty"])
def test_a_bad_bundle_is_refused_once_and_the_old_one_serves_on(
    open_door: Open, folder: Path, bundle: Path, spoken: Spoken, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    door = open_door(load_bundle(folder))
    tried: list[str] = []
    watching = watch(door, folder, tried)
    version = door.gateway.recognizer.version
    bad = other_bundle(bundle, folder.parent / "bad")
    if damage == "weights":
        path = next(bad.glob("*.safetensors"))
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "manifest":
        (bad / "bundle.json").write_text("{")
    elif damage == "empty":
        shutil.rmtree(bad)
        bad.mkdir()
    else:
        shutil.rmtree(bad)
    point(folder, bad)
    if damage in ("weights", "manifest"):
        assert until(lambda: "refused" in caplog.text)
    time.sleep(0.3)
    assert len(tried) == (1 if damage in ("weights", "manifest") else 0)
    assert door.decide(spoken.data, defense="none").json()["model"]["version"] == version
    point(folder, other_bundle(bundle, folder.parent / "good"))  # and a good one after it is taken
    assert until(lambda: door.gateway.recognizer.name == "other")
    watching.close()


def test_a_bundle_that_comes_while_the_first_is_loaded_is_served(open_door: Open, folder: Path, bundle: Path) -> None:
    before = sight_of(folder)
    door = open_door(load_bundle(folder))
    point(folder, other_bundle(bundle, folder.parent / "second"))
    watching = watch(door, folder, [], served=before)
    assert until(lambda: door.gateway.recognizer.name == "other")
    watching.close()


def test_a_link_to_itself_is_no_bundle_and_the_right_one_after_it_is_taken(
    open_door: Open, folder: Path, bundle: Path
) -> None:
    door = open_door(load_bundle(folder))
    tried: list[str] = []
    watching = watch(door, folder, tried)
    point(folder, Path(folder.name))
    time.sleep(0.3)
    assert tried == []
    point(folder, other_bundle(bundle, folder.parent / "second"))
    assert until(lambda: door.gateway.recognizer.name == "other")
    watching.close()


def test_the_same_bundle_written_again_is_no_other(open_door: Open, folder: Path, bundle: Path) -> None:
    door = open_door(load_bundle(folder))
    tried: list[str] = []
    watching = watch(door, folder, tried)
    served = door.gateway.recognizer
    shutil.copytree(bundle, folder.parent / "again")
    point(folder, folder.parent / "again")
    assert until(lambda: len(tried) == 1)
    time.sleep(0.2)
    assert door.gateway.recognizer is served
    watching.close()


def test_a_folder_is_told_from_another_by_its_manifest(folder: Path, bundle: Path) -> None:
    seen = sight_of(folder)
    assert seen is not None
    assert seen == sight_of(folder)
    point(folder, other_bundle(bundle, folder.parent / "second"))
    assert sight_of(folder) not in (None, seen)
    assert sight_of(folder.parent / "nowhere") is None


def test_a_bundle_whose_network_gives_nothing_is_not_served(open_door: Open, folder: Path) -> None:
    recognizer = load_bundle(folder)
    door = open_door(recognizer)
    broken = load_bundle(folder)
    with torch.no_grad():
        broken.defenses["none"].network.head.bias.fill_(torch.nan)  # type: ignore[attr-defined]
    engine = door.engine(broken)
    with pytest.raises(Exception, match="NaN"):
        engine.warm_up()
    engine.close()
