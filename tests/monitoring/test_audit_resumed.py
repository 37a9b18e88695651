"""An audit that is killed, cut up, shared out or changed comes to the same bytes, or says why it can't go on."""

from __future__ import annotations

import io
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from monitoring.audit import AttackSettings, AuditError, AuditFolder, AuditReport, run_audit
from monitoring.audit.plan import AuditPlan
from monitoring.audit.shards import Measured
from monitoring.measured import AuditSettings
from recognizer.bundle import load_bundle
from recognizer.manifest import Manifest, ManifestError, load_manifest, write_table
from recognizer.progress import Stage, silent
from recognizer.recognizer import Recognizer
from recognizer.smoothing import RandomizedSmoothing

SETTINGS = AuditSettings(seed=2, min_speakers=10, replicates=100)
ATTACK = AttackSettings(clips=3, eps_grid=(0.001, 0.02), steps=2, smoothing_steps=1, eot_draws=2, health_queries=2)
CLIPS = 5  # of a shard: the last one is smaller
FILES = ("outcomes.parquet", "attacked.parquet")


@pytest.fixture(scope="module")
def some(tone_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 48 clips of all twelve speakers, with copies of their files."""
    folder = tmp_path_factory.mktemp("some")
    whole = load_manifest(tone_manifest)
    table = whole.table.groupby(["speaker", "command"]).head(1).reset_index(drop=True)
    for i, path in enumerate(table["path"]):
        (folder / table.at[i, "speaker"]).mkdir(exist_ok=True)
        table.loc[i, "path"] = str(shutil.copy(path, folder / table.at[i, "speaker"]))
    write_table(table, folder / "manifest.csv")
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def recognizer(bundle: Path) -> Recognizer:
    return small(bundle)


def small(bundle: Path) -> Recognizer:
    """The bundle with few draws: enough where only bytes matter."""
    loaded = load_bundle(bundle)
    smoothing = loaded.defenses["smoothing"]
    assert isinstance(smoothing, RandomizedSmoothing)
    few = RandomizedSmoothing(smoothing.network, loaded.labels, sigma=smoothing.sigma, draws=12, error_alpha=0.01)
    return replace(loaded, defenses={**loaded.defenses, "smoothing": few})


def audit(recognizer: Recognizer, manifest: Path | Manifest, folder: Path, **options: Any) -> AuditReport:
    clips = load_manifest(manifest) if isinstance(manifest, Path) else manifest
    given: dict[str, Any] = {"settings": SETTINGS, "attack": ATTACK, "shard_clips": CLIPS, **options}
    return run_audit(recognizer, clips, source="m.csv", folder=AuditFolder(folder), **given)[0]


@pytest.fixture(scope="module")
def whole(recognizer: Recognizer, some: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an audit that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "audit"
    audit(recognizer, some, folder)
    return folder


def assert_same(folder: Path, whole: Path) -> None:
    for name in FILES:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    ours, theirs = (AuditReport.model_validate_json((f / "audit.json").read_bytes()) for f in (folder, whole))
    assert ours.model_copy(update={"created_at": theirs.created_at, "runtime": theirs.runtime}) == theirs
    assert not list(folder.rglob("*.unfinished"))


def test_the_shards_hold_every_clip_once(whole: Path) -> None:
    files = sorted((whole / "shards").glob("clean-*.parquet"))
    sizes = [Measured.from_parquet(file.read_bytes()).table["clip"].nunique() for file in files]
    assert sizes == [CLIPS] * (48 // CLIPS) + [48 % CLIPS]
    attacked = sorted(file.name for file in (whole / "shards").glob("attacked-smoothing-*"))
    assert attacked == ["attacked-smoothing-00000.parquet"]
    assert AuditReport.model_validate_json((whole / "audit.json").read_bytes()).runtime.shards_found == 0


PROGRAM = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path[:0] = [sys.argv[1]]
from test_audit_resumed import audit, small
audit(small(Path(sys.argv[2])), Path(sys.argv[3]), Path(sys.argv[4]))
"""


def test_killed_anywhere_it_goes_on_to_the_same_bytes(
    bundle: Path, some: Path, whole: Path, tmp_path: Path, recognizer: Recognizer
) -> None:
    chance = random.Random(6)
    folder, shards = tmp_path / "audit", tmp_path / "audit" / "shards"
    here = Path(__file__).parent
    kills = 0
    for wanted in (1, 5, 9):
        run = subprocess.Popen([sys.executable, "-c", PROGRAM, here, bundle, some, folder], cwd=here.parent.parent)
        while run.poll() is None and len(list(shards.glob("*.parquet"))) < wanted:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.05))
        run.kill()
        kills += run.wait() == -signal.SIGKILL
    assert kills >= 2
    assert not (folder / "outcomes.parquet").exists()
    left = {file: file.stat().st_mtime_ns for file in shards.glob("*.parquet")}
    report = audit(recognizer, some, folder)
    assert report.runtime.shards_found == len(left) >= 9
    assert all(file.stat().st_mtime_ns == when for file, when in left.items())  # none was measured again
    assert_same(folder, whole)


@pytest.mark.parametrize("lost", [0.3, 0.8])
def test_whatever_shards_are_lost_they_are_measured_again_to_the_same_bytes(
    recognizer: Recognizer, some: Path, whole: Path, tmp_path: Path, lost: float
) -> None:
    folder = tmp_path / "audit"
    shutil.copytree(whole, folder)
    chance = random.Random(1)
    gone = [file for file in sorted((folder / "shards").iterdir()) if chance.random() < lost]
    for file in gone:
        file.rename(file.with_name(f"{file.name}.99.unfinished"))  # what a kill within a write leaves
    report = audit(recognizer, some, folder)
    assert report.runtime.shards - report.runtime.shards_found == len(gone) > 2
    assert_same(folder, whole)


def test_the_order_of_shards_changes_nothing(recognizer: Recognizer, some: Path, whole: Path) -> None:
    plan = AuditPlan.of(
        load_manifest(some),
        defenses=tuple(recognizer.defenses),
        version=recognizer.version,
        seed=SETTINGS.seed,
        attack=ATTACK,
        shard_clips=CLIPS,
    )
    assert torch.get_num_threads() == 1
    for shard in reversed(plan.shards):
        measured = shard.measure(plan, recognizer, silent).to_parquet()
        assert measured == (whole / "shards" / f"{shard.name}.parquet").read_bytes(), shard.name


def test_the_order_of_the_rows_changes_nothing(recognizer: Recognizer, some: Path, whole: Path, tmp_path: Path) -> None:
    rows = load_manifest(some)
    turned = Manifest(rows.table.sample(frac=1, random_state=3).reset_index(drop=True), rows.attributes)
    audit(recognizer, turned, tmp_path / "audit")
    assert_same(tmp_path / "audit", whole)


def test_two_workers_come_to_the_bytes_of_one(
    recognizer: Recognizer, bundle: Path, some: Path, whole: Path, tmp_path: Path
) -> None:
    report = audit(recognizer, some, tmp_path / "audit", workers=2, load=partial(small, bundle))
    assert report.runtime.workers == 2
    assert_same(tmp_path / "audit", whole)


def test_a_bundle_that_is_replaced_meanwhile_is_an_error_and_finished_shards_stay(
    recognizer: Recognizer, bundle: Path, some: Path, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "audit"
    shutil.copytree(whole, folder)
    for file in sorted((folder / "shards").iterdir())[-2:]:
        file.unlink()
    left = {file.name for file in (folder / "shards").iterdir()}
    with pytest.raises(AuditError, match="the bundle was replaced while the audit ran"):
        audit(recognizer, some, folder, workers=2, load=partial(other_bundle, bundle))
    assert {file.name for file in (folder / "shards").iterdir()} == left


def other_bundle(bundle: Path) -> Recognizer:
    return replace(small(bundle), version="sha256:other")


Change = Callable[[dict[str, Any], Path], None]


def another_seed(given: dict[str, Any], _: Path) -> None:
    given["settings"] = SETTINGS.model_copy(update={"seed": 3})


def fewer_defenses(given: dict[str, Any], _: Path) -> None:
    given["defenses"] = ["none"]


def another_attack(given: dict[str, Any], _: Path) -> None:
    given["attack"] = ATTACK.model_copy(update={"steps": 4})


def another_device(given: dict[str, Any], _: Path) -> None:
    given["device"] = "cuda:1"  # as a name only: what the recogniser computes on stays


def another_label(_: dict[str, Any], manifest: Path) -> None:
    manifest.write_text(manifest.read_text().replace(",north,", ",east,"))


def other_bytes(_: dict[str, Any], manifest: Path) -> None:
    path = Path(load_manifest(manifest).table["path"][5])
    samples, rate = soundfile.read(path)
    soundfile.write(path, samples[::-1], rate)


def other_names(_: dict[str, Any], manifest: Path) -> None:
    """The same rows and bytes; but noise is keyed by the name."""
    path = Path(load_manifest(manifest).table["path"][5])
    path.rename(path.with_name("renamed.wav"))
    manifest.write_text(manifest.read_text().replace(str(path), str(path.with_name("renamed.wav"))))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (another_seed, "the seed (2 before, now 3)"),
        (fewer_defenses, "the defenses"),
        (another_attack, "the settings of the attack"),
        (another_device, "the device (cpu before, now cuda)"),
        (another_label, "the manifest or its clips"),
        (other_bytes, "the manifest or its clips"),
        (other_names, "the manifest or its clips"),
    ],
)
def test_what_changed_since_the_last_shard_is_told_and_the_shards_stay(
    recognizer: Recognizer, some: Path, tmp_path: Path, change: Change, words: str
) -> None:
    shutil.copytree(some.parent, tmp_path / "own")
    manifest, folder = tmp_path / "own" / "manifest.csv", tmp_path / "audit"
    manifest.write_text(manifest.read_text().replace(str(some.parent), str(manifest.parent)))
    stopped(recognizer, manifest, folder)
    left = {file: file.read_bytes() for file in (folder / "shards").iterdir()}
    given: dict[str, Any] = {}
    change(given, manifest)
    with pytest.raises(AuditError) as refused:
        audit(recognizer, manifest, folder, **given)
    assert words in str(refused.value)
    assert "--fresh" in str(refused.value)
    assert {file: file.read_bytes() for file in (folder / "shards").iterdir()} == left
    report = audit(recognizer, manifest, folder, fresh=True, **{"attack": AttackSettings(), **given})
    assert report.runtime.shards_found == 0


class Stopped(Exception):
    """What ends an audit in its middle."""


def stopped(recognizer: Recognizer, manifest: Path, folder: Path) -> None:
    """An audit that is not finished."""

    def stop(stage: Stage) -> None:
        if stage.name == "deciding on clips" and stage.done >= 2 * CLIPS:
            raise Stopped

    with pytest.raises(Stopped):
        audit(recognizer, manifest, folder, on_progress=stop)
    assert 0 < len(list((folder / "shards").iterdir())) < 10


def test_a_finished_audit_gives_way_to_one_of_something_else(
    recognizer: Recognizer, some: Path, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "audit"
    shutil.copytree(whole, folder)
    report = audit(recognizer, some, folder, defenses=["none"], attack=AttackSettings())
    assert report.runtime.shards_found == 0
    assert [result.defense for result in report.defenses] == ["none"]
    assert {file.name[:5] for file in (folder / "shards").iterdir()} == {"clean"}
    assert not (folder / "attacked.parquet").exists()


def test_statistics_may_change_without_measuring_again(
    recognizer: Recognizer, some: Path, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "audit"
    shutil.copytree(whole, folder)
    report = audit(recognizer, some, folder, settings=SETTINGS.model_copy(update={"tolerance": 0.2}))
    assert report.runtime.shards_found == report.runtime.shards
    assert (folder / "outcomes.parquet").read_bytes() == (whole / "outcomes.parquet").read_bytes()


def test_two_runs_on_one_folder_are_kept_apart(recognizer: Recognizer, some: Path, tmp_path: Path) -> None:
    with (
        AuditFolder(tmp_path / "audit").locked(),
        pytest.raises(AuditError, match=r"another run .* is at work in .*audit"),
    ):
        audit(recognizer, some, tmp_path / "audit")


def test_a_damaged_shard_is_named(recognizer: Recognizer, some: Path, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    shutil.copytree(whole, folder)
    (folder / "shards" / "clean-00002.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(AuditError, match=r"clean-00002.parquet can't be read .*; remove it"):
        audit(recognizer, some, folder)
    table = load_manifest(some).table
    file = io.BytesIO()
    table.to_parquet(file)
    (folder / "shards" / "clean-00002.parquet").write_bytes(file.getvalue())
    with pytest.raises(AuditError, match="a Parquet file that no audit wrote"):
        audit(recognizer, some, folder)


def test_a_network_that_gives_nan_ends_the_audit_and_finished_shards_stay(
    bundle: Path, recognizer: Recognizer, some: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "audit"
    stopped(recognizer, some, folder)
    left = {file.name for file in (folder / "shards").iterdir()}
    broken = small(bundle)
    network = broken.defenses["none"].network  # type: ignore[attr-defined]
    with torch.no_grad():
        network.head.bias.fill_(torch.nan)
    with pytest.raises(AuditError, match=r"NaN or infinity, on one of the clips .*: the bundle is broken"):
        audit(broken, some, folder)
    assert {file.name for file in (folder / "shards").iterdir()} == left


def test_one_recording_under_two_names_is_refused(recognizer: Recognizer, some: Path, tmp_path: Path) -> None:
    shutil.copytree(some.parent, tmp_path / "own")
    manifest = tmp_path / "own" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(str(some.parent), str(manifest.parent)))
    first, second = (Path(p) for p in load_manifest(manifest).table["path"][:2])
    shutil.copy(first, second)
    with pytest.raises(ManifestError, match=rf"1 recordings .*{first.name} = .*{second.name}.*once"):
        audit(recognizer, manifest, tmp_path / "audit")
    assert not (tmp_path / "audit").exists()


def test_an_attribute_that_is_called_as_a_column_is_refused(recognizer: Recognizer, some: Path, tmp_path: Path) -> None:
    clips = load_manifest(some)
    renamed = Manifest(clips.table.rename(columns={"accent": "outcome"}), ("outcome", "gender"))
    with pytest.raises(ManifestError, match="the attribute outcome is called as a column"):
        audit(recognizer, renamed, tmp_path / "audit")
