"""`--engine ray` of long commands: what it takes, and how it says what it lacks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from robot import Evenvoice


def commands(bundle: Path, manifest: Path, out: Path) -> dict[str, tuple[str, ...]]:
    audit = ("audit", "run", "--bundle", str(bundle), "--manifest", str(manifest), "--out", str(out))
    return {"audit": audit, "study": ("study", "run", str(manifest), "--out", str(out))}


@pytest.mark.parametrize("name", ["audit", "study"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--ray-cpus", "2", "--ray-address", "a:1"), "--ray-address and --ray-cpus without --engine ray"),
        (("--engine", "ray", "--workers", "2"), "--workers is of --engine local"),
        (("--engine", "ray", "--ray-gpus", "nan"), "is not a finite number"),
        (("--engine", "ray", "--ray-cpus", "0"), "'--ray-cpus': 0"),
        (("--engine", "slurm"), "'slurm' is not one of 'local', 'ray'"),
        (("--device", "no-such"), "'no-such' can't be used here"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    evenvoice: Evenvoice,
    bundle: Path,
    tone_manifest: Path,
    tmp_path: Path,
    name: str,
    options: tuple[str, ...],
    words: str,
) -> None:
    done = evenvoice(*commands(bundle, tone_manifest, tmp_path / "out")[name], *options)
    assert done.code == {"audit": 3, "study": 2}[name]
    assert words in " ".join(done.err.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "code"), [("audit", 3), ("study", 1)])
def test_without_the_extra_it_says_what_to_install(
    evenvoice: Evenvoice,
    bundle: Path,
    tone_manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    code: int,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as the interpreter remembers what can't be imported
    done = evenvoice(*commands(bundle, tone_manifest, tmp_path / "out")[name], "--engine", "ray")
    assert done.code == code
    assert "pip install 'evenvoice[ray]'" in done.err
    assert "Traceback" not in done.err


def test_audio_is_sent_to_a_cluster_only(
    evenvoice: Evenvoice, bundle: Path, tone_manifest: Path, tmp_path: Path
) -> None:
    done = evenvoice(*commands(bundle, tone_manifest, tmp_path / "out")["audit"], "--ship-audio")
    assert done.code == 3
    assert "--ship-audio without --engine ray" in done.err


def test_an_address_at_which_no_cluster_answers_is_named(
    evenvoice: Evenvoice, bundle: Path, tone_manifest: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed; see the extra `ray`")
    command = commands(bundle, tone_manifest, tmp_path / "out")["audit"]
    done = evenvoice(*command, "--engine", "ray", "--ray-address", "127.0.0.1:1")
    assert done.code == 3
    assert "no Ray cluster can be had at 127.0.0.1:1" in done.err
    assert "Traceback" not in done.err
