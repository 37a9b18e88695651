"""A bundle comes back as it was saved, shows every change, and can't run code."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import stat
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from recognizer.audio import read_clip
from recognizer.bundle import (
    AudioSpec,
    BundleError,
    BundleManifest,
    DataSpec,
    DefensesSpec,
    NetworkSpec,
    NeuralRejectionSpec,
    SmoothingSpec,
    check_replaceable,
    load_bundle,
    read_manifest,
    save_bundle,
    version_of,
)
from recognizer.defense import DefenseName, NetworkError, Undefended
from recognizer.manifest import load_manifest
from recognizer.mode import Mode
from recognizer.network import M5, Architecture
from recognizer.neural_rejection import NeuralRejection, SupportVectorMachine
from recognizer.purification import LowPass, Quantisation
from recognizer.recognizer import Recognizer, window_of
from recognizer.smoothing import RandomizedSmoothing

LABELS = ("left", "right", "unknown")
TINY = Architecture(labels=3, width=4, last_width=6, stride=1)
FILES = ("SHA256SUMS", "bundle.json", "clean.safetensors", "machine.safetensors", "noise.safetensors")
WEIGHTS = [name for name in FILES if name.endswith(".safetensors")]


def networks() -> dict[str, M5]:
    torch.manual_seed(0)
    return {name: M5(TINY).eval() for name in ("clean", "noise")}


def machine() -> SupportVectorMachine:
    draw = torch.Generator().manual_seed(0)
    shapes = {"mean": (6,), "support": (9, 6), "dual": (3, 9), "intercept": (3,), "offset": (3,)}
    tensors = {k: torch.randn(shape, generator=draw, dtype=torch.float64) for k, shape in shapes.items()}
    ones = {"scale": (6,), "gamma": (), "slope": (3,)}
    return SupportVectorMachine(**tensors, **{k: torch.ones(shape, dtype=torch.float64) for k, shape in ones.items()})


def manifest(**changes: Any) -> BundleManifest:
    values: dict[str, Any] = {
        "name": "tiny",
        "created_at": "2024-05-06T07:08:09Z",
        "evenvoice_version": "0.1.0",
        "labels": LABELS,
        "audio": AudioSpec(window_seconds=0.5),
        "networks": {n: NetworkSpec(architecture=TINY, file=f"{n}.safetensors") for n in ("clean", "noise")},
        "defenses": DefensesSpec(
            undefended_network="clean",
            neural_rejection=NeuralRejectionSpec(
                network="clean", file="machine.safetensors", confidence_threshold=0.4, fitted_on="nothing"
            ),
            smoothing=SmoothingSpec(network="noise", sigma=0.1, error_alpha=0.01, draws=30),
            default=DefenseName.SMOOTHING,
        ),
        "vocabulary": {"accent": ("north", "south")},
        "data": DataSpec(fingerprint="sha256:0", clips={"train": 1}, speakers={"train": 1}),
        "training": {"epochs": 0},
        "test_results": {},
    }
    return BundleManifest.model_validate(values | changes)


def tensors() -> dict[str, Mapping[str, Tensor]]:
    weights = {f"{name}.safetensors": network.state_dict() for name, network in networks().items()}
    return {**weights, "machine.safetensors": machine().tensors()}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of untrained networks. Read only."""
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    save_bundle(folder, manifest(), tensors())
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def reseal(folder: Path) -> None:
    """Make the sums true again, as someone would who can write the whole folder."""
    names = sorted(path.name for path in folder.iterdir() if path.name != "SHA256SUMS")
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(sums))


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / "bundle.json").read_text())
    change(content)
    (folder / "bundle.json").write_text(json.dumps(content))
    reseal(folder)


# Saving and loading


def test_a_loaded_bundle_decides_as_the_networks_that_were_saved(saved: Path) -> None:
    recognizer = load_bundle(saved)
    plain, noisy = networks().values()
    originals = {
        "none": Undefended(plain, LABELS),
        "neural_rejection": NeuralRejection(plain, machine(), LABELS, confidence_threshold=0.4),
        "smoothing": RandomizedSmoothing(noisy, LABELS, sigma=0.1, error_alpha=0.01, draws=30),
    }
    waveforms = 0.1 * torch.randn(8, 8000, generator=torch.Generator().manual_seed(1))
    ids = [str(i) for i in range(8)]
    assert {str(name) for name in recognizer.defenses} == set(originals)
    for name, original in originals.items():
        loaded = recognizer.defense(name).decide(waveforms, clip_ids=ids, seed=5)
        assert loaded == original.decide(waveforms, clip_ids=ids, seed=5)


def test_a_loaded_bundle_tells_what_it_is(saved: Path) -> None:
    recognizer = load_bundle(saved)
    assert (recognizer.name, recognizer.labels) == ("tiny", LABELS)
    assert recognizer.default_defense == DefenseName.SMOOTHING
    assert recognizer.vocabulary == {"accent": ("north", "south")}
    assert (recognizer.audio.window, recognizer.audio.max_seconds) == (8000, 5.0)
    assert recognizer.version == version_of(saved)
    assert read_manifest(saved) == manifest()


def test_a_bundle_may_have_no_defense_but_the_plain_network(tmp_path: Path) -> None:
    plain = manifest(defenses=DefensesSpec(undefended_network="clean"))
    save_bundle(tmp_path / "plain", plain, tensors())
    assert list(load_bundle(tmp_path / "plain").defenses) == [DefenseName.NONE]


def test_a_trained_bundle_is_accepted_by_sha256sum_and_hears_its_test_clips(bundle: Path, tone_manifest: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=bundle, check=True, capture_output=True)
    recognizer = load_bundle(bundle)
    test = load_manifest(tone_manifest).split("test")
    waveforms = window_of([read_clip(Path(p), recognizer.audio) for p in test.table["path"]], recognizer.audio)
    wanted = [None if c == "unknown" else c for c in test.table["command"]]
    for name in ("none", "neural_rejection"):
        decisions = recognizer.defense(name).decide(waveforms, clip_ids=test.clip_ids, seed=0)
        assert np.mean([d.command == c for d, c in zip(decisions, wanted, strict=True)]) > 0.9
    some = slice(None, None, 6)
    decisions = recognizer.defense("smoothing").decide(waveforms[some], clip_ids=test.clip_ids[some], seed=0)
    assert np.mean([d.command == c for d, c in zip(decisions, wanted[some], strict=True)]) > 0.9


def test_everything_is_listed_and_readable_by_another_user(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == list(FILES)
    listed = [line.split("  ")[1] for line in (saved / "SHA256SUMS").read_text().splitlines()]
    assert listed == list(FILES[1:])
    for path in saved.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o444 == 0o444


def test_tensors_are_saved_as_they_are(saved: Path) -> None:
    for name, content in tensors().items():
        loaded = load_file(saved / name)
        assert set(loaded) == set(content)
        for key, tensor in content.items():
            assert loaded[key].dtype == tensor.dtype
            assert torch.equal(loaded[key], tensor)


# Versions


def test_the_same_content_has_the_same_version(saved: Path, tmp_path: Path) -> None:
    save_bundle(tmp_path / "again", manifest(), tensors())
    assert version_of(tmp_path / "again") == version_of(saved)
    expected = hashlib.sha256((saved / "SHA256SUMS").read_bytes()).hexdigest()
    assert version_of(saved) == f"sha256:{expected}"


@pytest.mark.parametrize("name", WEIGHTS)
def test_one_other_weight_is_another_version(copy: Path, saved: Path, name: str) -> None:
    content = load_file(copy / name)
    key = sorted(k for k, t in content.items() if t.is_floating_point())[0]
    content[key].view(-1)[0] += 1e-3
    save_file(content, copy / name)
    reseal(copy)
    assert load_bundle(copy).version != version_of(saved)


def test_one_other_setting_is_another_version(copy: Path, saved: Path) -> None:
    edit_manifest(copy, lambda m: m["defenses"]["smoothing"].update(error_alpha=0.02))
    assert load_bundle(copy).version != version_of(saved)


# Defenses made of others

MANY = ("neural_rejection.smoothing", "quantisation", "low_pass.quantisation.neural_rejection.smoothing", "none")


def combined_manifest() -> BundleManifest:
    content = json.loads(manifest().to_json())
    content["defenses"] |= {"allowed": MANY, "default": MANY[0]}
    content["defenses"]["purifiers"] = {"low_pass": {"cutoff": 2000.0}, "quantisation": {"bits": 6}}
    return BundleManifest.model_validate(content)


@pytest.mark.parametrize("mode", [Mode.EXACT, Mode.FAST])
def test_a_loaded_bundle_has_the_defenses_it_allows_made_of_its_parts(tmp_path: Path, mode: Mode) -> None:
    save_bundle(tmp_path / "b", combined_manifest(), tensors())
    recognizer = load_bundle(tmp_path / "b", mode=mode)
    assert tuple(recognizer.defenses) == MANY
    assert recognizer.default_defense == MANY[0]
    waveforms = 0.1 * torch.randn(12, 8000, generator=torch.Generator().manual_seed(1))
    ids = [str(i) for i in range(12)]
    plain = load_bundle_of_singles(tmp_path / "singles")
    low, coarse = LowPass(cutoff=2000.0), Quantisation(bits=6)
    for name, heard in ((MANY[0], waveforms), (MANY[2], coarse(low(waveforms)))):
        found = recognizer.defense(name).decide(waveforms, clip_ids=ids, seed=5)
        rejecting = plain.defense("neural_rejection").decide(heard, clip_ids=ids, seed=5)
        voting = plain.defense("smoothing").decide(heard, clip_ids=ids, seed=5)
        for decision, one, two in zip(found, rejecting, voting, strict=True):
            ran = 2 if mode is Mode.EXACT or one.is_accepted else 1
            assert [part.decision.reason for part in decision.parts] == [one.reason, two.reason][:ran]
            if mode is Mode.EXACT:
                assert decision.is_accepted == (one.is_accepted and two.is_accepted and one.command == two.command)
    quantised = recognizer.defense("quantisation").decide(waveforms, clip_ids=ids, seed=0)
    assert quantised == plain.defense("none").decide(coarse(waveforms), clip_ids=ids, seed=0)


def test_a_noise_bank_is_drawn_only_for_a_defense_that_is_allowed(tmp_path: Path) -> None:
    """It costs seconds and much memory."""
    for allowed, banks in (("none", "neural_rejection"), 0), (("none", "quantisation.smoothing"), 1):
        content = json.loads(combined_manifest().to_json())
        content["defenses"] |= {"allowed": allowed, "default": "none"}
        save_bundle(tmp_path / "b", BundleManifest.model_validate(content), tensors())
        recognizer = load_bundle(tmp_path / "b", mode=Mode.FAST)
        assert tuple(recognizer.defenses) == allowed
        assert len(recognizer.banks) == banks


def load_bundle_of_singles(folder: Path) -> Recognizer:
    save_bundle(folder, manifest(), tensors())
    return load_bundle(folder)


def test_a_bundle_that_does_not_say_allows_its_single_defenses(copy: Path) -> None:
    """As those of before do."""

    def forget(content: dict[str, Any]) -> None:
        for name in ("allowed", "purifiers"):
            del content["defenses"][name]

    edit_manifest(copy, forget)
    assert tuple(load_bundle(copy).defenses) == ("none", "neural_rejection", "smoothing")


def test_a_purifiers_settings_are_stored_whole() -> None:
    """A later release's defaults must not change a bundle."""
    stored = json.loads(combined_manifest().to_json())["defenses"]["purifiers"]
    assert stored["low_pass"] == {"sample_rate": 16_000, "cutoff": 2000.0, "transition": 400.0}
    assert stored["quantisation"] == {"sample_rate": 16_000, "bits": 6}


def allow(*names: str, **purifiers: dict[str, float]) -> Callable[[dict[str, Any]], object]:
    return lambda m: m["defenses"].update(allowed=names, default=names[0], purifiers=purifiers)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (allow("opus"), "the default defense opus is not in the bundle, which has no opus"),
        (allow("none", "opus.smoothing"), "the allowed defense opus.smoothing is not in the bundle, which has no opus"),
        (allow("none", "smoothing.opus", opus={}), "give 'opus.smoothing'"),
        (allow("none", "luck"), "there is no step 'luck'"),
        (allow("none", "none"), "each name is accepted once"),
        (lambda m: m["defenses"].update(allowed=[]), "at least 1 item"),
        (lambda m: m["defenses"].update(allowed=["none"]), "default defense smoothing is none of those allowed, none"),
        (allow("none", luck={}), "'luck' is no purifier; there are low_pass"),
        (allow("none", opus={"bitrate": 1}), "the purifier 'opus' can't be set so: bitrate"),
        (allow("none", opus={"name": 1}), "the purifier 'opus' can't be set so: name"),
        (allow("none", low_pass={"sample_rate": 8000, "cutoff": 2000}), "is set for 8000 Hz, the bundle's .* 16000"),
    ],
)
def test_defenses_that_can_not_be_made_are_refused(copy: Path, change: Any, words: str) -> None:
    edit_manifest(copy, change)
    with pytest.raises(BundleError, match=words):
        load_bundle(copy)


# Damage


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_a_changed_byte_anywhere_is_noticed(copy: Path, name: str, data: st.DataObject) -> None:
    path = copy / name
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1) | st.integers(0, min(len(whole) - 1, 80)))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    try:
        with pytest.raises(BundleError) as refused:
            load_bundle(copy)
        assert str(copy) in str(refused.value)
        assert name in str(refused.value) or "is missing from the bundle" in str(refused.value)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("byte", [b"\x0b", b"\x0c", b"\r", b"\x1c", b""])
def test_the_sums_have_lines_as_sha256sum_reads_them_and_no_others(copy: Path, byte: bytes) -> None:
    sums = copy / "SHA256SUMS"
    whole = sums.read_bytes()
    sums.write_bytes(whole[:-1] + byte)
    with pytest.raises(BundleError, match="SHA256SUMS is damaged"):
        load_bundle(copy)
    sums.write_bytes(whole[:64] + byte + whole[65:])
    with pytest.raises(BundleError):
        load_bundle(copy)


def test_the_sums_list_a_file_once(copy: Path) -> None:
    sums = copy / "SHA256SUMS"
    sums.write_bytes(sums.read_bytes() * 2)
    with pytest.raises(BundleError, match="SHA256SUMS lists a file twice"):
        load_bundle(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_cut_off_file_is_named(copy: Path, name: str) -> None:
    whole = (copy / name).read_bytes()
    for kept in (len(whole) - 1, len(whole) // 2, 0):
        (copy / name).write_bytes(whole[:kept])
        with pytest.raises(BundleError, match=name):
            load_bundle(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"{copy}.*{name}|{name} is missing"):
        load_bundle(copy)


def test_there_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no bundle folder"):
        load_bundle(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="there is no bundle folder"):
        load_bundle(tmp_path / "file")
    with pytest.raises(BundleError, match="is no bundle: it has no SHA256SUMS"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/hostname", "sub/clean.safetensors", "./bundle.json"])
def test_the_sums_never_lead_out_of_the_folder(copy: Path, name: str) -> None:
    (copy.parent / "outside.safetensors").write_bytes(b"")
    with (copy / "SHA256SUMS").open("a") as file:
        file.write(f"{hashlib.sha256(b'').hexdigest()}  {name}\n")
    with pytest.raises(BundleError, match="plain file names only"):
        load_bundle(copy)


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_file_that_is_used_must_be_listed(copy: Path, name: str) -> None:
    lines = (copy / "SHA256SUMS").read_text().splitlines(keepends=True)
    (copy / "SHA256SUMS").write_text("".join(line for line in lines if not line.endswith(f"  {name}\n")))
    with pytest.raises(BundleError, match=f"does not list {name}"):
        load_bundle(copy)


# Manifests that are false though their sums are true


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(schema="evenvoice.bundle/2"), "schema"),
        (lambda m: m.update(colour="red"), "colour"),
        (lambda m: m.pop("labels"), "labels"),
        (lambda m: m.update(labels=["left", "right"]), "has 3 labels, the bundle 2"),
        (lambda m: m["networks"].pop("noise"), "uses the network 'noise', which is not in the bundle"),
        (lambda m: m["defenses"].update(smoothing=None), "the default defense smoothing is not in the bundle"),
        (lambda m: m["defenses"]["smoothing"].update(sigma=0), "sigma"),
        (lambda m: m["defenses"]["neural_rejection"].update(confidence_threshold=1.5), "confidence_threshold"),
        (lambda m: m["networks"]["clean"].update(file="../clean.safetensors"), "file"),
        (lambda m: m["networks"]["clean"].update(file="clean.pt"), "file"),
        (lambda m: m["defenses"]["neural_rejection"].update(file="machine.pkl"), "file"),
        (lambda m: m["networks"]["clean"]["architecture"].update(stride=0), "stride"),
        (lambda m: m["audio"].update(sample_rate=1), "sample_rate"),
        (lambda m: m["audio"].update(max_seconds=float("inf")), "max_seconds"),
    ],
)
def test_a_manifest_that_breaks_its_schema_is_refused(copy: Path, change: Any, words: str) -> None:
    edit_manifest(copy, change)
    with pytest.raises(BundleError, match=words) as refused:
        load_bundle(copy)
    assert "bundle.json" in str(refused.value)


def test_a_manifest_that_is_no_json_is_refused(copy: Path) -> None:
    (copy / "bundle.json").write_bytes(b"\xff{")
    reseal(copy)
    with pytest.raises(BundleError, match=r"bundle\.json breaks the schema"):
        load_bundle(copy)


def test_smoothing_that_would_reject_everything_is_not_loaded(copy: Path) -> None:
    edit_manifest(copy, lambda m: m["defenses"]["smoothing"].update(draws=5))
    with pytest.raises(BundleError, match="every clip would be rejected; take at least 8 draws"):
        load_bundle(copy)


# Weights that are false though their sums are true


def test_weights_of_another_architecture_are_refused(copy: Path) -> None:
    wider = M5(Architecture(labels=3, width=5, last_width=6, stride=1)).state_dict()
    whole = load_file(copy / "clean.safetensors")
    for content in (wider, {k: t for k, t in whole.items() if k != "head.bias"}, whole | {"extra": torch.ones(1)}):
        save_file(content, copy / "clean.safetensors")
        reseal(copy)
        with pytest.raises(BundleError, match=r"clean\.safetensors does not fit its architecture"):
            load_bundle(copy)


def test_a_machine_without_a_part_or_of_another_shape_is_refused(copy: Path) -> None:
    whole = load_file(copy / "machine.safetensors")
    save_file({k: t for k, t in whole.items() if k != "slope"}, copy / "machine.safetensors")
    reseal(copy)
    with pytest.raises(BundleError, match=r"machine\.safetensors holds .* a rejection machine has"):
        load_bundle(copy)
    for name in whole:
        save_file(whole | {name: torch.zeros(2, dtype=torch.float64)}, copy / "machine.safetensors")
        reseal(copy)
        with pytest.raises(BundleError, match="does not fit"):
            load_bundle(copy)


@pytest.mark.parametrize("defense", list(DefenseName))
def test_weights_that_are_no_numbers_never_accept(copy: Path, defense: DefenseName) -> None:
    for name in ("clean.safetensors", "noise.safetensors"):
        content = load_file(copy / name)
        content["head.bias"][:] = torch.nan
        content["blocks.0.weight"][:] = torch.nan
        save_file(content, copy / name)
    reseal(copy)
    recognizer = load_bundle(copy)
    with pytest.raises(NetworkError):
        recognizer.defense(defense).decide(torch.randn(2, 8000), clip_ids=["a", "b"], seed=0)


class Payload:
    """What a malicious pickle does when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("write", [torch.save, lambda o, path: path.write_bytes(pickle.dumps(o))], ids=["pt", "pkl"])
def test_a_pickle_is_never_loaded(copy: Path, tmp_path: Path, name: str, write: Any) -> None:
    write(Payload(tmp_path / "pwned"), copy / name)
    reseal(copy)
    with pytest.raises(BundleError, match=f"{name} can't be read as safetensors"):
        load_bundle(copy)
    assert not (tmp_path / "pwned").exists()


# Saving over what is there


def test_a_new_bundle_replaces_the_old_one_whole(copy: Path) -> None:
    (copy / "left over").touch()
    plain = manifest(name="plain", defenses=DefensesSpec(undefended_network="clean"))
    save_bundle(copy, plain, {name: content for name, content in tensors().items() if name != "machine.safetensors"})
    assert load_bundle(copy).name == "plain"
    assert sorted(path.name for path in copy.iterdir()) == sorted({*FILES} - {"machine.safetensors"})
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_a_save_that_fails_while_writing_leaves_the_old_bundle(copy: Path) -> None:
    before = version_of(copy)
    shared = torch.zeros(4)
    with pytest.raises(RuntimeError, match="memory"):  # safetensors refuses tensors that share it
        save_bundle(copy, manifest(name="new"), {"clean.safetensors": {"a": shared, "b": shared}})
    assert load_bundle(copy).version == before
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_a_save_that_fails_while_replacing_leaves_the_old_bundle(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = version_of(copy)
    rename = Path.rename

    def full_disk(path: Path, target: Path) -> Path:
        if (path / "bundle.json").exists() and json.loads((path / "bundle.json").read_text())["name"] == "new":
            raise OSError("no space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_bundle(copy, manifest(name="new"), tensors())
    assert load_bundle(copy).version == before
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_never_writes_over_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(BundleError, match="exists and is no bundle"):
        save_bundle(tmp_path, manifest(), tensors())
    with pytest.raises(BundleError, match="exists and is no bundle"):
        save_bundle(tmp_path / "thesis.txt", manifest(), tensors())
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_a_bundle_beside_which_nothing_can_be_written_is_refused(saved: Path, tmp_path: Path) -> None:
    check_replaceable(saved)
    assert not list(saved.parent.glob(".*"))
    with pytest.raises(BundleError, match="nothing can be written into"):
        check_replaceable(tmp_path / "nowhere" / "bundle")


def test_a_link_to_a_bundle_stays_a_link(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(copy, target_is_directory=True)
    save_bundle(tmp_path / "current", manifest(name="new"), tensors())
    assert (tmp_path / "current").is_symlink()
    assert read_manifest(copy).name == "new"


def test_makes_the_folders_above_and_fills_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "deep/down/bundle", tmp_path / "empty"):
        save_bundle(folder, manifest(), tensors())
        assert load_bundle(folder).name == "tiny"
