"""The page of an audit: every number on it is the report's, its drawings are where the data are, and nothing of a name
is ever taken for more than a name."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from audit_reports import ALPHAS, EPS, GROUPS, gate, judgement, whole_report

from monitoring.audit import AuditReport, GroupResult
from monitoring.parity import Verdict
from monitoring.report.answer import answer
from monitoring.report.load import ReportUnreadable, load_report
from monitoring.report.page import audit_document, write_html
from monitoring.report.render import to_html

VOID = {"meta", "link", "br", "hr", "img", "input"}
HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "{{ 7 * 7 }}", "'; --", "a & b | c *d*")


class Checked(HTMLParser):
    """Fails on tags that do not close each other, on ids that are there twice, and collects tables."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.headings: list[int] = []
        self.tables: list[list[list[str]]] = []
        self.captions: list[str] = []
        self.addresses: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attrs)
        assert "style" not in named
        assert not any(name.startswith("on") for name in named)
        if named.get("id"):
            self.ids.append(str(named["id"]))
        self.references += str(named.get("aria-labelledby") or "").split()
        self.addresses += [str(v) for k, v in attrs if k in ("src", "href", "action", "data")]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        match tag:
            case "table":
                self.tables.append([])
            case "caption":
                self.captions.append("")
            case "tr":
                self.tables[-1].append([])
            case "td" | "th":
                self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title", "desc"):
            self.text.append(data)
        if "caption" in self.open:
            self.captions[-1] += data
        elif "td" in self.open or ("th" in self.open and self.tables):
            self.tables[-1][-1][-1] += data


def parsed(page: str) -> Checked:
    checked = Checked()
    checked.feed(page)
    checked.close()
    assert not checked.open
    return checked


@pytest.fixture(scope="module")
def report() -> AuditReport:
    return whole_report()


@pytest.fixture(scope="module")
def page(report: AuditReport) -> str:
    return to_html(audit_document(report))


def table(page: str, caption: str) -> list[list[str]]:
    """The one table whose caption begins so; cells with single spaces."""
    checked = parsed(page)
    (found,) = [rows for words, rows in zip(checked.captions, checked.tables, strict=True) if words.startswith(caption)]
    return [[" ".join(cell.split()) for cell in row] for row in found]


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}".replace("-", "−")


def interval(lower: float | None, upper: float | None) -> str:
    return "–" if lower is None or upper is None else f"[{percent(lower)}, {percent(upper)}]"


def drawings(page: str) -> Iterator[ElementTree.Element]:
    for text in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        yield ElementTree.fromstring(text)


def titled(page: str, id_begins: str) -> list[ElementTree.Element]:
    return [svg for svg in drawings(page) if str(svg.find("title").get("id")).startswith(id_begins)]  # type: ignore[union-attr]


def test_the_page_is_well_formed_and_needs_nothing_from_elsewhere(page: str) -> None:
    checked = parsed(page)
    assert len(checked.ids) == len(set(checked.ids))
    assert set(checked.references) <= set(checked.ids)
    assert not {"script", "link", "img", "iframe", "object", "embed", "form"} & set(checked.tags)
    assert all(address.startswith("#") and address[1:] in checked.ids for address in checked.addresses)
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_headings_go_down_one_step_at_a_time(page: str) -> None:
    levels = parsed(page).headings
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_every_table_has_a_caption_and_whole_rows(page: str) -> None:
    checked = parsed(page)
    assert len(checked.captions) == len(checked.tables) >= 15
    for caption, rows in zip(checked.captions, checked.tables, strict=True):
        assert caption.strip()
        assert len(rows) > 1
        assert {len(row) for row in rows} == {len(rows[0])}, caption


def test_every_drawing_is_described_with_its_numbers(page: str, report: AuditReport) -> None:
    assert len(list(drawings(page))) == 3 + 5 + 1 + 2  # gaps, forests, thresholds, attacks
    for svg in drawings(page):
        assert svg.get("role") == "img"
        description = svg.findtext("desc")
        assert description is not None
        assert re.search(r"\d", description)
    (svg,) = titled(page, "forest-0-0-1")
    described = svg.findtext("desc") or ""
    for group in report.defenses[1].attributes[0].groups:
        assert f"{group.group} {percent(group.rejection.mean)} %" in described


@pytest.mark.parametrize("metric", ["rejection", "accuracy", "auc_fpr"])
def test_the_groups_tables_hold_the_reports_numbers(page: str, report: AuditReport, metric: str) -> None:
    caption = {"rejection": "False rejections, %, by", "accuracy": "Accuracy, %, by", "auc_fpr": "AUC_FPR, by"}[metric]
    _, *rows = table(page, caption)
    named = {"none": "no defense", "smoothing": "randomized smoothing"}

    def write(value: float | None) -> str:
        return percent(value) if metric != "auc_fpr" else "–" if value is None else f"{value:.4f}"

    expected = []
    for index in range(len(GROUPS)):
        for result in report.defenses:
            group: GroupResult = result.attributes[0].groups[index]
            estimate = getattr(group, metric)
            if estimate is None:
                continue
            bounds = "–" if estimate.lower is None else f"[{write(estimate.lower)}, {write(estimate.upper)}]"
            expected.append(
                [
                    {"undeclared": "undeclared (in no gap)", "other": "other (all else)"}.get(group.group, group.group),
                    named[result.defense],
                    str(group.speakers),
                    str(group.clips),
                    write(estimate.mean),
                    bounds,
                    write(estimate.shrunken),
                    "–" if estimate.design_effect is None else f"{estimate.design_effect:.2f}",
                ]
            )
    assert rows == expected


def test_the_gaps_table_holds_the_reports_numbers(page: str, report: AuditReport) -> None:
    _, *rows = table(page, "Gaps by accent")
    by_figure = {(row[0], row[1]): row[2:] for row in rows}
    assert len(rows) == 5
    for result, words in zip(report.defenses, ("no defense", "randomized smoothing"), strict=True):
        gap = result.attributes[0].gaps[0]
        assert gap.spread is not None
        assert by_figure["False rejections, %", words] == [
            "▲ disparity",
            percent(gap.value),
            percent(gap.value_compared),
            interval(gap.lower, gap.upper),
            "north – south",
            f"{gap.p_value:.3f}",
            f"{percent(gap.spread.sd)} {interval(gap.spread.lower, gap.spread.upper)}",
            percent(gap.minimum_detectable_gap),
        ]
    assert by_figure["Accuracy, %", "no defense"][0] == "? inconclusive"
    assert by_figure["AUC_FPR", "randomized smoothing"][0] == "✓ equivalent"


def test_the_changes_against_no_defense_hold_the_reports_numbers(page: str, report: AuditReport) -> None:
    _, *rows = table(page, "What each defense changes")
    deltas = report.defenses[1].attributes[0].deltas
    expected = []
    for delta, words in zip(deltas, ("False rejections, %", "Accuracy, %"), strict=True):
        for group in delta.groups:
            d = group.difference
            expected.append([words, str(group.speakers), percent(d.mean), interval(d.lower, d.upper)])
        assert delta.gap is not None
        expected.append([words, "–", percent(delta.gap.mean), interval(delta.gap.lower, delta.gap.upper)])
    assert [[row[0], *row[3:6]] for row in rows] == expected
    assert [row[6] for row in rows if row[2] == "the gap"] == ["▲ wider", "? inconclusive"]


def test_intersections_hold_the_reports_numbers(page: str, report: AuditReport) -> None:
    header, *rows = table(page, "By accent × gender")
    assert header[5:] == ["correct, %", "fitted", "shrunken", "rejected, %", "fitted", "shrunken"]
    expected = []
    for index in range(len(GROUPS)):
        for result in report.defenses:
            cells = [crossed.cells[index] for crossed in result.intersections]
            expected.append([percent(value) for c in cells for value in (c.mean, c.fitted, c.shrunken)])
    assert [row[5:] for row in rows] == expected


def test_under_attack_holds_the_reports_numbers(page: str, report: AuditReport) -> None:
    _, *overall = table(page, "All 49 speakers under attack")
    _, *areas = table(page, "AUC_acc by accent")
    header, *levels = table(page, "Accuracy at each budget")
    assert header[2:] == [f"{eps:g}" for eps in EPS]
    attacked = [result.attacked for result in report.defenses]
    shown = iter(overall)
    for result in attacked:
        assert result is not None
        for place, eps in enumerate(EPS):
            right, rejected = result.overall.accuracy[place].mean, result.overall.rejected[place]
            row = next(shown)
            assert row[1:3] == [f"{eps:g}", percent(right)]
            assert row[4:6] == [percent(rejected), percent(1 - right - rejected)]
    for index in range(len(GROUPS)):
        for number, result in enumerate(attacked):
            assert result is not None
            group = result.attributes[0].groups[index]
            assert areas[2 * index + number][4] == f"{group.auc_acc.mean:.4f}"
            assert levels[2 * index + number][2:] == [percent(e.mean) for e in group.accuracy]
    text = " ".join("".join(parsed(page).text).split())
    for part in ("98 clips of 49 speakers", "out of 459 of 51", "12.5 % of clips", "twice the steps", "is in doubt"):
        assert part in text


def test_marks_of_a_forest_stand_where_its_axis_has_their_values(page: str, report: AuditReport) -> None:
    """Places are read off the axis' own ticks, through two of them."""
    forests = titled(page, "forest-")
    assert len(forests) == 5
    seen = []
    for svg in forests:
        at = axis_of(svg)
        for row in svg.iterfind(".//g[@data-mean]"):
            circle = row.find("circle")
            assert circle is not None
            assert float(circle.get("cx", "nan")) == pytest.approx(at(float(row.get("data-mean", "nan"))), abs=0.011)
            seen.append((row.get("data-name"), float(row.get("data-mean", "nan"))))
            caps = [float(line.get("x1", "nan")) for line in row.iterfind(".//line[@class='cap']")]
            bounds = [row.get("data-lower"), row.get("data-upper")]
            assert caps == [pytest.approx(at(float(bound)), abs=0.011) for bound in bounds if bound is not None]
            is_firm = "firm" in str(circle.get("class"))
            assert is_firm == (row.get("data-name") in ("north", "south"))
    expected = []
    for metric in ("rejection", "accuracy", "auc_fpr"):
        for result in report.defenses:
            groups = result.attributes[0].groups
            expected += [(g.group, e.mean) for g in groups if (e := getattr(g, metric)) is not None]
    assert seen == expected


def test_gaps_stand_against_their_tolerance(page: str, report: AuditReport) -> None:
    first, *_ = titled(page, "gaps-")
    at = axis_of(first)
    (line,) = first.iterfind("line[@class='tolerance']")
    assert float(line.get("x1", "nan")) == pytest.approx(at(0.05), abs=0.011)
    rows = list(first.iterfind(".//g[@data-value]"))
    rows = [row for row in rows if "row" in str(row.get("class"))]
    gaps = [result.attributes[0].gaps[0] for result in report.defenses]
    assert [float(row.get("data-value", "nan")) for row in rows] == [gap.value_compared for gap in gaps]
    for row, gap in zip(rows, gaps, strict=True):
        caps = [float(cap.get("x1", "nan")) for cap in row.iterfind(".//line[@class='cap']")]
        assert caps == [pytest.approx(at(gap.lower or 0), abs=0.011), pytest.approx(at(gap.upper or 0), abs=0.011)]
        assert row.find("polygon[@class='mark disparity']") is not None  # told by its shape


def test_curves_pass_through_the_reports_values(page: str, report: AuditReport) -> None:
    attacked = report.defenses[0].attacked
    assert attacked is not None
    (thresholds,) = titled(page, "alpha-")
    under_attack = titled(page, "eps-")[0]
    for svg, places, groups in (
        (thresholds, ALPHAS, {g.group: g.curves[0].rejection for g in report.defenses[1].attributes[0].groups}),
        (under_attack, EPS, {g.group: tuple(e.mean for e in g.accuracy) for g in attacked.attributes[0].groups}),
    ):
        lines = {str(g.get("data-name")): g for g in svg.iterfind("g[@data-values]")}
        assert set(lines) == set(GROUPS)
        for name, values in groups.items():
            polyline = lines[name].find("polyline")
            assert polyline is not None
            points = [tuple(map(float, p.split(","))) for p in str(polyline.get("points")).split()]
            assert [float(v) for v in str(lines[name].get("data-places")).split()] == list(places)
            assert [y for _, y in points] == [pytest.approx(190 - 182 * value, abs=0.011) for value in values]
            across = [x for x, _ in points]
            assert across == sorted(across)
            assert (across[0], across[-1]) == (40, 350)
        assert len({str(line.get("class")) for line in lines.values()}) == len(lines)  # each has a style of its own
    (chance,) = under_attack.iterfind("line[@class='chance']")
    assert float(chance.get("y1", "nan")) == pytest.approx(190 - 182 * 0.125, abs=0.011)


def axis_of(svg: ElementTree.Element):  # type: ignore[no-untyped-def]
    """Value -> coordinate, by the first and the last tick."""
    ticks = list(svg.iterfind(".//g[@class='tick']"))
    places = [(float(g.get("data-value", "nan")), float(g.find("line").get("x1", "nan"))) for g in ticks]  # type: ignore[union-attr]
    (low, start), (high, end) = places[0], places[-1]
    return lambda value: start + (value - low) / (high - low) * (end - start)


def test_what_the_front_end_missed_stands_with_each_group() -> None:
    report = whole_report()
    coverage = tuple(c.model_copy(update={"missed": c.commands // 3}) for c in report.coverage)
    heads, *rows = table(
        to_html(audit_document(report.model_copy(update={"coverage": coverage}))), "Every group of the manifest"
    )
    assert heads[-2:] == ["missed", "missed, %"]
    assert [row[-2:] for row in rows] == [[str(c.missed), "33.3"] for c in coverage]


def test_undeclared_and_other_are_always_there(page: str) -> None:
    _, *coverage = table(page, "Every group of the manifest")
    assert [row[1] for row in coverage][-2:] == ["other (all else)", "undeclared (in no gap)"]
    assert [row[2:] for row in coverage][2] == ["2", "20", "1", "5.0", "18"]
    assert "Missed:" not in page  # no front end was played to
    text = "".join(parsed(page).text)
    assert "Undeclared: 3 of 51 speakers, 5.9 %." in text
    assert "a/b/c.wav: the clip's peak is below -60 dBFS" in text
    assert "2 of 51 speakers have one clip only" in text


def test_false_acceptances_are_shown_by_defense_group_and_sound(page: str) -> None:
    assert table(page, "Clips that are no command, and were taken")[1:] == [
        ["no defense", "40", "7", "17.5"],
        ["randomized smoothing", "40", "7", "17.5"],
    ]
    assert table(page, "The same by what they are")[1] == ["babble", "no defense", "22", "3", "13.6"]
    assert table(page, "False acceptances by accent")[1] == ["north", "no defense", "40", "7", "17.5"]


def test_hashes_settings_and_the_exit_code_are_on_the_page(page: str, report: AuditReport) -> None:
    text = " ".join(" ".join(parsed(page).text).split())
    for part in (report.bundle_version, report.fingerprint, report.clips_sha256, "2026-01-02 03:04 UTC"):
        assert part in text
    for part in ("disparity, exit code 1", "none given: the default one", "3 of them found finished", "Seed 17"):
        assert part in text


def test_hostile_names_stay_names() -> None:
    report = whole_report(names=HOSTILE).model_copy(update={"bundle_name": HOSTILE[0], "manifest": HOSTILE[1]})
    page = to_html(audit_document(report))
    checked = parsed(page)
    assert not {"script", "img"} & set(checked.tags)
    assert "49" not in table(page, "Every group")[3][1]
    assert [row[1] for row in table(page, "Every group")[1:]] == list(HOSTILE)
    assert len(list(drawings(page))) == 11  # which parse


@pytest.mark.parametrize(
    ("verdict", "counts_as", "head", "reason"),
    [
        (Verdict.EQUIVALENT, "pass", "Within the limits.", "The one figure that counts passes"),
        (Verdict.DISPARITY, "disparity", "Disparity.", "between north (highest) and south (lowest)"),
        (Verdict.INCONCLUSIVE, "inconclusive", "It can't be said.", "leave open whether the limit is kept"),
        (Verdict.INSUFFICIENT, "inconclusive", "It can't be said.", "fewer than two groups have enough speakers"),
        (Verdict.INSUFFICIENT, "pass", "Within the limits.", "the policy's choice and no finding"),
        (Verdict.INCONCLUSIVE, "disparity", "Disparity.", "which the policy counts as a failure"),
    ],
)
def test_the_answer_says_the_verdict_and_why(verdict: Verdict, counts_as: str, head: str, reason: str) -> None:
    decided = judgement(gate(verdict, counts_as), outcome=counts_as)
    report = whole_report(verdict=verdict, decided=decided)
    found = answer(report)
    assert found.head == head
    assert reason in found.reason
    checked = parsed(to_html(audit_document(report)))
    text = " ".join("".join(checked.text).split())
    assert f"{head} {found.reason}" in text


def test_a_disparity_names_the_sizes_that_decide() -> None:
    report = whole_report()
    gap = report.defenses[1].attributes[0].gaps[0]
    assert gap.value_compared is not None
    assert gap.lower is not None
    reason = answer(report).reason
    assert f"apart by {100 * gap.value_compared:.1f} percentage points" in reason
    assert f"surely by more than {100 * gap.lower:.1f}, and 5.0 is the limit" in reason


def test_a_missed_accuracy_is_told() -> None:
    decided = judgement(gate("missed", "disparity", attribute=None, limit=0.97), outcome="disparity")
    report = whole_report(decided=decided)
    accuracy = report.defenses[1].overall.accuracy.mean
    assert answer(report).reason == (
        f"With randomized smoothing the accuracy over all speakers is {100 * accuracy:.1f} %; "
        "the policy asks for at least 97.0 %."
    )
    (row,) = table(to_html(audit_document(report)), "What decides")[1:]
    assert row[0] == "Accuracy, %, all speakers"
    assert row[2] == percent(accuracy)
    assert (row[1], row[4], row[5]) == ("▲ missed", "at least 97.0", "fails")


def test_an_audit_that_attacked_nothing_says_so() -> None:
    report = whole_report()
    bare = tuple(r.model_copy(update={"attacked": None, "intersections": ()}) for r in report.defenses)
    page = to_html(audit_document(report.model_copy(update={"attack": None, "defenses": bare})))
    text = "".join(parsed(page).text)
    assert "This audit attacked nothing" in text
    assert "Nothing was attacked: whether the defenses protect all groups alike" in text
    assert "Intersections" not in text


def test_the_page_is_written_whole(report: AuditReport, tmp_path: Path) -> None:
    path = write_html(report, tmp_path / "new")
    assert path == tmp_path / "new" / "audit.html"
    assert path.read_text(encoding="utf-8") == to_html(audit_document(report))


def test_a_report_comes_back_from_its_file(report: AuditReport, tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    path.write_text(report.model_dump_json(by_alias=True), encoding="utf-8")
    assert load_report(path) == report


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            '{"schema": "evenvoice.audit/1"}',
            "evenvoice.audit/1, and this evenvoice reads evenvoice.audit/2: run the audit",
        ),
        ('{"schema": "evenvoice.bundle/1"}', "is no audit's report"),
        ("[]", "is no audit's report"),
        ("<html>", "is no JSON"),
        ('{"schema": "evenvoice.audit/2"}', "is damaged: created_at"),
    ],
)
def test_what_is_no_report_of_this_version_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "audit.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ReportUnreadable, match=re.escape(said)):
        load_report(path)


def test_a_missing_report_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReportUnreadable, match="No such file"):
        load_report(tmp_path / "none.json")


def test_a_report_with_a_number_that_is_none_is_refused(report: AuditReport, tmp_path: Path) -> None:
    content = json.loads(report.model_dump_json(by_alias=True))
    content["defenses"][0]["overall"]["accuracy"]["mean"] = "much"
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ReportUnreadable, match=r"defenses\.0\.overall\.accuracy\.mean"):
        load_report(path)
