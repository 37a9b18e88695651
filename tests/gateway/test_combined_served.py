"""Combined and purified defenses, from a bundle on disk to the wire, the records, the metrics and the command line."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from robot import Door, Evenvoice, Spoken, assert_problem, total
from safetensors.torch import load_file

from gateway.schemas import CertificateBody, CommandResponse
from monitoring.audit import AuditReport
from recognizer.audio import read_clip
from recognizer.bundle import BundleManifest, load_bundle, read_manifest, save_bundle
from recognizer.decision import Certificate, Replay
from recognizer.manifest import load_manifest
from recognizer.mode import Mode
from recognizer.recognizer import Recognizer

BOTH, PURIFIED = "neural_rejection.smoothing", "quantisation.neural_rejection.smoothing"
ALLOWED = ("none", BOTH, PURIFIED, "quantisation")


@pytest.fixture(scope="module")
def combined_bundle(bundle: Path, test_clips: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tones' networks, so strict that neural rejection turns some commands away. Read only."""
    plain = load_bundle(bundle)
    clips = [read_clip(path, plain.audio) for path in test_clips]
    decisions = plain.decide(clips, clip_ids=[""] * len(clips), seed=0, defense="neural_rejection")
    threshold = statistics.median(d.confidence or 0.0 for d in decisions if d.is_accepted)
    content = json.loads(read_manifest(bundle).to_json())
    content["defenses"] |= {"allowed": ALLOWED, "default": BOTH, "purifiers": {"quantisation": {"bits": 10}}}
    content["defenses"]["neural_rejection"]["confidence_threshold"] = threshold
    folder = tmp_path_factory.mktemp("combined") / "bundle"
    weights = {path.name: load_file(path) for path in bundle.glob("*.safetensors")}
    save_bundle(folder, BundleManifest.model_validate(content), weights)
    return folder


@pytest.fixture(scope="module")
def served(combined_bundle: Path) -> Recognizer:
    return load_bundle(combined_bundle, mode=Mode.FAST, bank_seed=5)


@pytest.fixture
def combined_door(open_door: Callable[..., Door], served: Recognizer) -> Door:
    return open_door(served, release_commands=1, release_speakers=1)


@pytest.fixture(scope="module")
def test_clips(tone_manifest: Path) -> list[Path]:
    """Three takes of each command and of other sounds."""
    table = load_manifest(tone_manifest).split("test").table
    return [Path(path) for path in table.groupby("command").head(3)["path"]]


def test_a_command_is_answered_with_what_each_part_made_of_it(combined_door: Door, test_clips: list[Path]) -> None:
    answered = []
    for path in test_clips:
        body = CommandResponse.model_validate_json(combined_door.decide(path.read_bytes()).content)
        answered.append(body)
        names = [part.defense for part in body.parts]
        assert names == BOTH.split(".")[: len(names)]
        reasons = [part.reason for part in body.parts]
        assert all(reason == "ok" for reason in reasons[:-1])  # the first that abstains ends it
        if body.decision == "accept":
            assert reasons == ["ok", "ok"]
            assert {part.top[0].command for part in body.parts} == {body.command}
        else:
            assert reasons[-1] == body.reason or body.reason == "disagreement"
        assert body.certificate == body.parts[-1].certificate
    assert {len(body.parts) for body in answered} == {1, 2}
    assert {"accept", "abstain"} == {body.decision for body in answered}

    samples, rows = combined_door.samples, combined_door.rows
    assert [(row["defense"], row["reason"]) for row in rows] == [(BOTH, str(body.reason)) for body in answered]
    scored = {"attribute": "accent", "defense": f"{BOTH}/neural_rejection"}
    confidences = [body.parts[0].confidence for body in answered]
    assert total(samples, "evenvoice_rejection_score_count", **scored) == len(answered)
    assert total(samples, "evenvoice_rejection_score_sum", **scored) == pytest.approx(
        sum(1 - c for c in confidences if c)
    )
    ran = [body.parts[1].certificate.draws for body in answered if len(body.parts) == 2]  # type: ignore[union-attr]
    assert total(samples, "evenvoice_smoothing_draws_count", attribute="accent") == len(ran)
    assert total(samples, "evenvoice_smoothing_draws_sum", attribute="accent") == sum(d or 0 for d in ran)


def test_a_part_never_carries_a_command_of_its_own(combined_door: Door, test_clips: list[Path]) -> None:
    for path in test_clips:
        for part in combined_door.decide(path.read_bytes()).json()["parts"]:
            assert set(part) == {"defense", "reason", "detail", "confidence", "top", "certificate"}


def test_a_request_chooses_among_the_defenses_that_are_allowed(combined_door: Door, spoken: Spoken) -> None:
    for name in ALLOWED:
        body = combined_door.decide(spoken.data, defense=name).json()
        assert combined_door.rows[-1]["defense"] == name
        assert bool(body["parts"]) == ("." in name)
    problem = assert_problem(combined_door.decide(spoken.data, defense="smoothing"), 422)
    assert problem["detail"] == f"this bundle has no defense 'smoothing'; it has {', '.join(ALLOWED)}"


def test_after_a_purifier_certificates_speak_of_the_purified_clip(combined_door: Door, spoken: Spoken) -> None:
    body = combined_door.decide(spoken.data, defense=PURIFIED).json()
    assert [part["certificate"]["defense"] for part in body["parts"]] == [
        f"quantisation.{part['defense']}" for part in body["parts"]
    ]
    assert body["certificate"]["defense"].startswith("quantisation.")


def test_the_wire_shows_all_of_a_certificate_but_the_seed_of_the_noise() -> None:
    assert {f.name for f in fields(Certificate)} - set(CertificateBody.model_fields) == {"replay"}
    certificate = Certificate(
        defense="smoothing", sigma=0.1, draws=100, p_value=0.0, replay=Replay("float32", bank=1234567, rows=64)
    )
    assert "1234567" not in CertificateBody.of(certificate).model_dump_json()


def test_classify_shows_the_parts_all_of_which_are_asked(
    evenvoice: Evenvoice, combined_bundle: Path, test_clips: list[Path]
) -> None:
    arguments = ("classify", *test_clips, "--bundle", combined_bundle, "--seed", "3", "--json")
    lines = [json.loads(line) for line in evenvoice(*arguments).out.splitlines()]
    assert len(lines) == len(test_clips)
    assert {tuple(part["defense"] for part in line["parts"]) for line in lines} == {tuple(BOTH.split("."))}
    assert {line["decision"] for line in lines} == {"accept", "abstain"}
    alone = evenvoice(*arguments, "--defense", "quantisation")
    assert {len(json.loads(line)["parts"]) for line in alone.out.splitlines()} == {0}


@pytest.mark.parametrize("command", ["classify", "audit run"])
def test_a_defense_that_is_not_allowed_is_one_line_that_names_those_that_are(
    evenvoice: Evenvoice, combined_bundle: Path, spoken: Spoken, tone_manifest: Path, command: str
) -> None:
    rest = [spoken.path] if command == "classify" else ["--manifest", tone_manifest]
    done = evenvoice(*command.split(), *rest, "--bundle", combined_bundle, "--defense", "smoothing")
    assert done.code == (1 if command == "classify" else 3)  # 1 is a verdict of an audit
    assert done.err == f"evenvoice: this bundle has no defense 'smoothing'; it has {', '.join(ALLOWED)}\n"


def test_an_audit_takes_a_combined_defense_by_name(
    evenvoice: Evenvoice, combined_bundle: Path, tone_manifest: Path, tmp_path: Path
) -> None:
    arguments = ("audit", "run", "--bundle", combined_bundle, "--manifest", tone_manifest, "--attacked-clips", "0")
    done = evenvoice(*arguments, "--defense", BOTH, "--defense", "none", "--out", tmp_path / "audit")
    assert done.code == 2, done.err  # too few speakers
    report = AuditReport.model_validate_json((tmp_path / "audit" / "audit.json").read_text())
    assert [(r.defense, [p.part for p in r.overall.parts]) for r in report.defenses] == [
        (BOTH, BOTH.split(".")),
        ("none", []),
    ]
    assert "NR.RS" in done.out


def test_bundle_check_names_what_a_request_may_choose(evenvoice: Evenvoice, combined_bundle: Path) -> None:
    assert evenvoice("bundle", "check", combined_bundle).words.endswith(f"labels, {', '.join(ALLOWED)}")
