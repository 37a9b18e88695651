"""`evenvoice audit plan`, through its entry point."""

from __future__ import annotations

from pathlib import Path

import pytest
from robot import Evenvoice

from monitoring.audit_plan import Pilot
from monitoring.parity import Aim, speakers_for_equivalence, speakers_for_gap

GIVEN = ("--share", "0.1", "--icc", "0.3", "--clips-a-speaker", "20")


def rows(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines() if line.strip()]


def test_it_says_what_the_statistics_say(evenvoice: Evenvoice) -> None:
    done = evenvoice("audit", "plan", *GIVEN, "--groups", "3", "--gaps", "0.05,0.1,0.2", "--tolerance", "0.05")
    assert (done.code, done.err) == (0, "")
    aim, sd = Aim(groups=3, tolerance=0.05), Pilot.of_share(0.1, icc=0.3, clips_a_speaker=20).speaker_sd()
    needed = {gap: speakers_for_gap(gap, speaker_sd=sd, aim=aim) for gap in (0.1, 0.2)}
    found = rows(done.out)
    assert ["0.05", "none:", "it", "is", "acceptable"] in found
    for gap, speakers in needed.items():
        assert [f"{gap}", f"{speakers:,}", f"{20 * speakers:,}"] in found
    enough = speakers_for_equivalence(speaker_sd=sd, aim=aim)
    assert f"{enough:,} speakers of each group, to call equal groups `equivalent`" in done.words


def test_a_manifests_groups_are_told_what_they_can_show(evenvoice: Evenvoice, many_speakers: Path) -> None:
    done = evenvoice("audit", "plan", *GIVEN, "--manifest", many_speakers)
    (female,) = (row for row in rows(done.out) if row[:2] == ["gender:", "female"])
    assert female[2:4] == ["36", "108"]  # clips of commands
    assert 0.05 < float(female[4]) < 0.5
    few = evenvoice("audit", "plan", *GIVEN, "--manifest", many_speakers, "--min-speakers", "40")
    assert ["gender:", "female", "36", "108", "not", "compared"] in rows(few.out)


def test_a_pilot_stands_in_for_figures(evenvoice: Evenvoice, audited: Path) -> None:
    done = evenvoice("audit", "plan", "--pilot", audited, "--defense", "none", "--metric", "accuracy")
    assert (done.code, done.err) == (0, "")
    assert "means of 3 clips a speaker" in done.words
    more = evenvoice("audit", "plan", "--pilot", audited, "--defense", "none", "--metric", "accuracy",
                     "--clips-a-speaker", "30")  # fmt: skip
    assert "means of 30 clips a speaker" in more.words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give --share, --icc and --clips-a-speaker, or --pilot"),
        (("--share", "0.1"), "give --share, --icc and --clips-a-speaker, or --pilot"),
        (("--pilot", "x", "--share", "0.1"), "give one or the other"),
        (("--pilot", "nowhere"), "nowhere has no audit.json"),
        ((*GIVEN, "--gaps", "0.1,x"), "'x' is not a valid float"),
        ((*GIVEN, "--gaps", "2"), "2.0 is not in the range 0<=x<=1"),
        (("--share", "nan", *GIVEN[2:]), "not a finite number"),
    ],
)
def test_what_can_not_be_planned_from_is_an_error(evenvoice: Evenvoice, arguments: tuple[str, ...], words: str) -> None:
    done = evenvoice("audit", "plan", *arguments)
    assert done.code == 3
    assert words in " ".join(done.err.split())


def test_a_pilot_without_the_defense_is_one_line(evenvoice: Evenvoice, audited: Path) -> None:
    done = evenvoice("audit", "plan", "--pilot", audited, "--defense", "opus")
    assert done.code == 3
    assert "the pilot has no outcome of 'opus'" in done.err
