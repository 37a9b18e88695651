"""The report as tables: every figure of the audit, in its place."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from audit_reports import frame
from rich.console import Console

from monitoring.audit import (
    AttributeResult,
    AuditReport,
    DefenseResult,
    Estimate,
    FalseAcceptance,
    GapResult,
    GroupResult,
)
from monitoring.measured import Unheard
from monitoring.parity import Verdict
from monitoring.report import Grid, overview, short, to_markdown
from recognizer.defense import DefenseName


def group(
    name: str,
    accuracy: float,
    rejection: float,
    score: float | None,
    speakers: int = 24,
    others: FalseAcceptance | None = None,
) -> GroupResult:
    return GroupResult(
        group=name,
        speakers=speakers,
        clips=10 * speakers,
        accuracy=Estimate(mean=accuracy, lower=accuracy - 0.01, upper=accuracy + 0.01),
        rejection=Estimate(mean=rejection, lower=None, upper=None),
        auc_fpr=None if score is None else Estimate(mean=score, lower=0.0, upper=1.0),
        not_commands=others,
    )


def gap(metric: str, value: float, verdict: Verdict, *, compared: bool) -> GapResult:
    return GapResult(
        metric=metric,
        tolerance=0.05,
        value=value,
        compared=("north", "south") if compared else (),
        value_compared=value if compared else None,
        lower=value - 0.011 if compared else None,
        upper=value + 0.013 if compared else None,
        verdict=verdict,
        too_small=("west",) if compared else ("north", "south", "west"),
        highest="north",
        lowest="south",
        minimum_detectable_gap=0.0875 if compared else None,
    )


def result(defense: DefenseName, score: float | None, gaps: tuple[GapResult, ...], accepted: int) -> DefenseResult:
    """`accepted` of 40 other sounds, all of them the north's."""
    others = FalseAcceptance(clips=40, accepted=accepted)
    return DefenseResult(
        defense=defense,
        overall=group("all", 0.8125, 0.125, score, 50, others),
        attributes=(
            AttributeResult(
                attribute="accent",
                groups=(
                    group("north", 0.9, 0.0625, score, others=others),
                    group("south", 0.7, 0.1875, score),
                    group("west", 0.6, 0.5, score, 2),
                ),
                gaps=gaps,
            ),
        ),
    )


@pytest.fixture
def report() -> AuditReport:
    plain = (
        gap("rejection", 0.125, Verdict.DISPARITY, compared=True),
        gap("accuracy", 0.2, Verdict.INSUFFICIENT, compared=False),
    )
    defended = (gap("auc_fpr", 0.0345, Verdict.EQUIVALENT, compared=True), *plain)
    fields = {
        **frame(),
        "speakers": 50,
        "defenses": (result(DefenseName.NONE, None, plain, 7), result(DefenseName.SMOOTHING, 0.0421, defended, 0)),
    }
    return AuditReport(**fields)


def tables(page: str) -> list[list[list[str]]]:
    """The Markdown tables of a page, as rows of cells without the rule."""
    blocks = re.findall(r"(?:^\|.*\n)+", page, flags=re.MULTILINE)
    split = [[[c.strip() for c in line.strip("|").split("|")] for line in block.splitlines()] for block in blocks]
    return [[rows[0], *rows[2:]] for rows in split]


def test_the_page_says_what_was_audited_with_what(report: AuditReport) -> None:
    page = to_markdown(report)
    words = ("tones", report.bundle_version, report.fingerprint, "manifest.csv", "540 clips of 50 speakers", "seed 17")
    numbers = ("2026-01-02T03:04:05", "tolerance of 0.05", "at least 20 speakers", "95%", "80%")
    for part in (*words, *numbers):
        assert part in page


def test_the_page_says_what_it_came_to_and_what_to_bear_in_mind(report: AuditReport) -> None:
    page = to_markdown(report)
    assert (
        f"- under the default policy: **{report.judgement.outcome}**, exit code {report.judgement.exit_code}\n" in page
    )
    assert report.cautions
    assert all(f"\n- {caution}\n" in page for caution in report.cautions)


def test_a_name_that_looks_like_html_stays_text(report: AuditReport) -> None:
    odd = (Unheard(clip="a/<script>b|c.wav", why="the clip's peak is below -60 dBFS"),)
    page = to_markdown(report.model_copy(update={"unheard": odd, "cautions": ("nobody is <b>",)}))
    assert "- a/&lt;script>b\\|c.wav: the clip's peak" in page
    assert "- nobody is &lt;b>" in page
    text = Grid("<i>", ("group", "n"), (("<script>alert(1)</script>", "1"), ("a|b", "2"))).to_markdown()
    assert "<" not in text
    assert [line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("|")] == [3] * 4


def test_every_table_of_the_page_is_whole(report: AuditReport) -> None:
    found = tables(to_markdown(report))
    assert len(found) == 3  # all, by accent, gaps
    for rows in found:
        assert {len(row) for row in rows} == {len(rows[0])}


def test_the_page_has_a_row_for_every_group_and_defense(report: AuditReport) -> None:
    _, by_accent, _ = tables(to_markdown(report))
    cells = {(row[0], row[1]): row for row in by_accent[1:]}
    assert set(cells) == {(g, d) for g in ("north", "south", "west") for d in ("none", "smoothing")}
    assert cells["south", "smoothing"][2:4] == ["24", "240"]
    assert cells["south", "smoothing"][4].startswith("0.700 [0.690, 0.710]")
    assert "0.0421" in cells["south", "smoothing"]
    assert "0.0421" not in cells["south", "none"]
    assert cells["west", "none"][2:4] == ["2", "20"]  # small groups are shown, never dropped


def test_the_page_tells_how_many_other_sounds_were_accepted(report: AuditReport) -> None:
    everyone, by_accent, _ = tables(to_markdown(report))
    assert everyone[0][-1] == by_accent[0][-1] == "others accepted"
    assert [row[-1] for row in everyone[1:]] == ["7 of 40", "0 of 40"]
    assert {(row[0], row[1]): row[-1] for row in by_accent[1:]} == {
        ("north", "none"): "7 of 40", ("north", "smoothing"): "0 of 40",
        ("south", "none"): "-", ("south", "smoothing"): "-",
        ("west", "none"): "-", ("west", "smoothing"): "-",
    }  # fmt: skip


def test_the_page_gives_each_gap_its_interval_and_verdict(report: AuditReport) -> None:
    *_, gaps = tables(to_markdown(report))
    (row,) = (row for row in gaps if row[0] == "accent: AUC_FPR")
    assert row[1:] in (
        ["smoothing", value, value, "[0.024, 0.048]", "0.087", "2 of 3", "equivalent"] for value in ("0.034", "0.035")
    )
    (row, _) = (row for row in gaps if row[0] == "accent: accuracy")
    assert row[1:] == ["none", "0.200", "-", "-", "-", "0 of 3", "insufficient"]
    assert len(gaps) - 1 == 5


def test_the_page_names_the_clips_that_could_not_be_heard(report: AuditReport) -> None:
    assert "a/b/c.wav: the clip's peak is below -60 dBFS" in to_markdown(report)
    assert "could not be heard" not in to_markdown(report.model_copy(update={"unheard": ()}))


def test_the_overview_has_every_group_and_every_defenses_figures(report: AuditReport) -> None:
    everyone, by_accent, gaps = overview(report)
    assert by_accent.title == "By accent"
    (row,) = everyone.rows
    text = " ".join(row)
    assert row[0] == "all"
    assert text.count("12.5") == text.count("81.2") == 2  # both defenses' false rejections and accuracy
    assert text.count("0.042") == 1  # the plain network has no AUC_FPR
    assert [row[0] for row in by_accent.rows] == ["north", "south", "west"]
    assert [row[1] for row in by_accent.rows] == ["24", "24", "2"]
    cells = {row[0]: [" ".join(cell.split()) for cell in row[1:]] for row in gaps.rows}
    assert set(cells) == {"accent: AUC_FPR", "accent: false rejections", "accent: accuracy"}
    assert cells["accent: AUC_FPR"][0] == "-"
    assert cells["accent: AUC_FPR"][1].endswith("equivalent")
    assert cells["accent: false rejections"] == ["0.125 [0.114, 0.138] disparity"] * 2
    assert cells["accent: accuracy"] == ["0.200 insufficient"] * 2


def test_the_overview_tells_how_many_other_sounds_were_accepted_where_there_are_any(report: AuditReport) -> None:
    everyone, by_accent, _ = overview(report)
    assert everyone.columns[-1].split() == by_accent.columns[-1].split() == ["others,", "%", "accepted"]
    assert [row[-1] for row in (*everyone.rows, *by_accent.rows)] == ["18/0", "18/0", "-/-", "-/-"]

    without = tuple(
        r.model_copy(update={"overall": r.overall.model_copy(update={"not_commands": None})}) for r in report.defenses
    )
    for grid in overview(report.model_copy(update={"defenses": without})):
        assert "others" not in " ".join(grid.columns)
        assert {len(row) for row in grid.rows} == {len(grid.columns)}


def test_short_names_keep_the_purifiers() -> None:
    names = ("none", "smoothing", "neural_rejection.smoothing", "opus", "spectral_gate.opus.neural_rejection")
    assert [short(name) for name in names] == ["none", "RS", "NR.RS", "opus", "spectral_gate.opus.NR"]


def test_the_overview_of_defenses_with_long_names_fits_a_terminal_of_eighty_columns(report: AuditReport) -> None:
    first, second = report.defenses
    names = ("opus", "spectral_gate.smoothing", "low_pass.smoothing", "spectral_gate.opus.smoothing")
    many = (first, *(second.model_copy(update={"defense": name}) for name in names))
    everyone, by_accent, *gaps = overview(report.model_copy(update={"defenses": many}))
    assert len(everyone.rows) == 5
    assert [row[0] for row in by_accent.rows][:2] == ["north, none", "north, opus"]
    assert len(by_accent.rows) == 3 * 5
    assert [grid.columns[1:] for grid in gaps] == [
        ("none", "opus", "spectral_gate.RS"),
        ("low_pass.RS", "spectral_gate.opus.RS"),
    ]
    out = StringIO()
    for grid in (everyone, by_accent, *gaps):
        Console(file=out, width=80).print(grid.to_rich())
    assert "…" not in out.getvalue()


def test_the_overview_fits_a_terminal_of_eighty_columns(report: AuditReport) -> None:
    middle = report.defenses[1].model_copy(update={"defense": DefenseName.NEURAL_REJECTION})
    three = (report.defenses[0], middle, report.defenses[1])
    for grid in overview(report.model_copy(update={"defenses": three})):
        assert {len(row) for row in grid.rows} == {len(grid.columns)}
        out = StringIO()
        Console(file=out, width=80).print(grid.to_rich())
        assert "…" not in out.getvalue()
