"""The fairness page shows what `/v1/fairness` says, computed here another way, and what it can't say."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from html.parser import HTMLParser
from itertools import product
from math import log
from urllib.parse import parse_qs, urlsplit

import pytest
from fairness_states import BEFORE, LAST_DAY, MODEL, busy, evidence, group, quiet, state
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from gateway.middleware.headers import OWN_PAGE
from gateway.pages.fairness import (
    DAY_FLOOR,
    HISTORY_DAYS,
    FairnessView,
    NoSuchFigures,
    Panel,
    Source,
    Weight,
    evidence_row,
    fairness_view,
)
from gateway.pages.proportion import Proportion, proportion
from gateway.pages.render import duration, fairness_page, percent, spark_dots, spark_line, wealth
from gateway.pages.style import STYLE
from gateway.schemas import FairnessResponse
from monitoring.promql import TRAFFIC_FLOOR

SERVED = Source("smoothing", MODEL)
VOID = {"meta", "link", "br"}


@dataclass
class Element:
    name: str
    attributes: dict[str, str | None]
    inside: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join("".join(part if isinstance(part, str) else part.text for part in self.inside).split())

    def all(self, name: str) -> list[Element]:
        """Every element of this name in it, in order."""
        found = []
        for part in self.inside:
            if isinstance(part, Element):
                found += [part] * (part.name == name) + part.all(name)
        return found


class Tree(HTMLParser):
    """A page as elements, each of which must be closed in its order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self._open = [self.root]
        self.feed(page)
        self.close()
        assert self._open == [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        assert len(element.attributes) == len(attrs)
        self._open[-1].inside.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].inside.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().name == tag

    def handle_data(self, data: str) -> None:
        self._open[-1].inside.append(data)


def page_of(shown: FairnessResponse, served: Source = SERVED, **asked: str) -> str:
    view = fairness_view(shown, bundle="digits", served=served, **asked)
    return fairness_page(view, refresh=None, now=datetime(2026, 11, 23, 10, tzinfo=UTC))


def tables_of(page: str) -> dict[str, list[Element]]:
    """The words a caption begins with -> its tables, in the order of the attributes."""
    found: dict[str, list[Element]] = {}
    for table in Tree(page).root.all("table"):
        (caption,) = table.all("caption")
        assert isinstance(caption.inside[0], str)
        found.setdefault(caption.inside[0].strip(), []).append(table)
    return found


def rows_of(table: Element) -> dict[str, list[Element]]:
    """Row header -> its cells."""
    (body,) = table.all("tbody")
    return {row.all("th")[0].text: row.all("td") for row in body.all("tr")}


def numbers(text: str) -> list[float]:
    return [float(found.replace(",", "")) for found in re.findall(r"\d[\d,]*(?:\.\d+)?", text)]


def length_of(value: str | None) -> float:
    """Percent"""
    assert value is not None
    assert value.endswith("%")
    return float(value[:-1])


def panel_of(shown: FairnessResponse, attribute: str) -> Panel:
    (panel,) = (p for p in fairness_view(shown, bundle="digits", served=SERVED).panels if p.attribute == attribute)
    return panel


# Shares


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_the_interval_is_wilsons(part: int, more: int) -> None:
    if part + more == 0:
        assert proportion(part, more) is None
        return
    share = Proportion(part, part + more)
    theirs = binomtest(part, part + more).proportion_ci(0.95, method="wilson")
    assert (share.lower, share.upper) == pytest.approx((theirs.low, theirs.high), abs=1e-6)
    assert 0 <= share.lower <= share.value <= share.upper <= 1


@pytest.mark.parametrize(("part", "whole"), [(0, 0), (3, 2), (-1, 2)])
def test_what_is_no_share_is_refused(part: int, whole: int) -> None:
    with pytest.raises(ValueError, match="0 <= part <= whole and whole > 0"):
        Proportion(part, whole)


def test_a_share_that_is_not_nothing_never_reads_as_nothing() -> None:
    texts = {0: "0 %", 1e-6: "< 0.1 %", 0.0005: "0.1 %", 0.1234: "12.3 %", 0.9996: "> 99.9 %", 1: "100 %"}
    assert {share: percent(share).replace("\xa0", " ") for share in texts} == texts


def test_wealth_and_durations_are_written_for_people() -> None:
    texts = {-9.0: "under 0.01", -0.5: "0.61", log(3.21): "3.2", log(360): "360", log(1234.4): "1,234"}
    assert {number: wealth(number) for number in texts} == texts
    assert wealth(5000.0) == "over a million"
    lengths = {86_400: "1 day", 604_800: "7 days", 21_600: "6 hours", 90: "90 seconds", 60: "1 minute"}
    assert {seconds: duration(seconds) for seconds in lengths} == lengths


# The page says what the response says


def test_every_group_is_in_the_table_of_rejections_with_its_interval_and_its_place_in_the_figure() -> None:
    shown = busy()
    tables = tables_of(page_of(shown))["Turned away"]
    for attribute, table in zip(("accent", "gender"), tables, strict=True):
        axis = numbers(table.all("thead")[0].all("th")[1].text)[-1] / 100
        rows = rows_of(table)
        of = [g for g in shown.groups if (g.attribute, g.defense, g.model) == (attribute, "smoothing", MODEL)]
        assert set(rows) == {g.group for g in of}
        for g in of:
            figure, *cells = rows[g.group]
            decided = g.outcomes.accepted + g.outcomes.rejected
            if not decided:
                assert [cell.text for cell in cells] == ["not released yet"]
                assert figure.all("circle") == []
                continue
            theirs = binomtest(g.outcomes.rejected, decided).proportion_ci(0.95, method="wilson")
            written = numbers(cells[0].text)
            assert written == pytest.approx([100 * x for x in (g.rejection_rate, *theirs)], abs=0.051)
            assert numbers(cells[1].text) == [decided]
            (point,) = figure.all("circle")
            (whisker,) = figure.all("rect")
            at = (point.attributes["cx"], whisker.attributes["x"], whisker.attributes["width"])
            lengths = [g.rejection_rate, theirs.low, theirs.high - theirs.low]
            assert [length_of(x) for x in at] == pytest.approx([100 * x / axis for x in lengths], abs=0.01)


def test_the_gap_is_between_declared_groups_with_enough_commands() -> None:
    shown = busy()
    panel = panel_of(shown, "accent")
    heard = {
        g.group: g
        for g in shown.groups
        if g.attribute == "accent"
        and g.group != "undeclared"
        and g.outcomes.accepted + g.outcomes.rejected >= TRAFFIC_FLOOR
    }
    rates = {name: g.rejection_rate or 0.0 for name, g in heard.items()}
    ends = [
        binomtest(g.outcomes.rejected, g.outcomes.accepted + g.outcomes.rejected).proportion_ci(0.95, method="wilson")
        for g in heard.values()
    ]
    assert set(heard) == {"north", "south", "other"}  # not east, with 78; not undeclared
    assert panel.gap is not None
    assert panel.gap.value == pytest.approx(max(rates.values()) - min(rates.values()))
    assert panel.gap.at_least == pytest.approx(max(e.low for e in ends) - min(e.high for e in ends), abs=1e-6)
    assert (panel.gap.highest, panel.gap.lowest) == ("north", "south")
    assert panel.left_out == ("east",)
    at_least = f"at least {100 * panel.gap.at_least:.1f} points by the intervals"
    assert f"Gap: 18.0 points. north 24.0 %, south 6.0 %; {at_least}." in Tree(page_of(shown)).root.text


def test_intervals_that_overlap_and_groups_too_small_are_said() -> None:
    alike = state(group("gender", "female", 190, 20), group("gender", "male", 190, 22))
    assert "the intervals overlap" in Tree(page_of(alike)).root.text
    small = state(group("gender", "female", 190, 20), group("gender", "male", 150, 2))
    text = Tree(page_of(small)).root.text
    assert f"No gap to tell yet: it takes two groups with {TRAFFIC_FLOOR} decided commands each." in text
    assert f"Fewer than {TRAFFIC_FLOOR} commands, so in no gap: male." in text


def test_the_undeclared_share_is_of_all_decided_commands() -> None:
    text = Tree(page_of(busy())).root.text
    assert f"Undeclared: {100 * 1560 / 4938:.1f} % of 4,938 commands" in text
    assert f"Undeclared: {100 * 760 / 7860:.1f} % of 7,860 commands" in text


def test_accuracy_is_shown_where_labels_came_and_only_there() -> None:
    (table,) = tables_of(page_of(busy()))["Answered rightly"]
    rows = rows_of(table)
    assert numbers(rows["female"][1].text)[0] == 80.0
    assert numbers(rows["female"][2].text) == [300]
    assert numbers(rows["male"][1].text)[0] == 90.0
    assert rows["undeclared"][1].text == "not released yet"
    without = busy().model_copy(update={"groups": [g for g in busy().groups if g.attribute == "accent"]})
    assert "Answered rightly" not in tables_of(page_of(without))


def test_evidence_stands_against_its_alarm_in_figure_and_words() -> None:
    shown = busy()
    table, _ = tables_of(page_of(shown))["Evidence by betting"]
    rows = rows_of(table)
    says = {name: cells[1].text.partition(" ")[2] for name, cells in rows.items()}
    assert says["north"].startswith("Alarm: these speakers are turned away more than the rest; with only 6 on one side")
    assert "that says nothing of the group north" in says["north"]
    assert says["south"].startswith("no evidence of a difference")
    assert says["east"].startswith("some evidence that these speakers are turned away more")
    assert "short of an alarm" in says["east"]
    assert says["west"] == "nothing to bet on yet: no session is released"
    assert says["undeclared"] == "not bet on: who declared nothing is no group"
    assert rows["north"][2].text == "1,339"  # e^7.2
    assert "66 sessions, 6 speakers" in rows["north"][1].text
    for g in shown.groups[:6]:
        figure = rows[g.group][0]
        (level,) = figure.all("line")
        alarm_at = length_of(level.attributes["x1"])
        if g.evidence is None:
            assert figure.all("rect") == []
            continue
        (bar,) = figure.all("rect")
        width = length_of(bar.attributes["width"])
        assert width / alarm_at == pytest.approx(max(0.0, g.evidence.log_wealth) / shown.alarm_log_wealth, abs=1e-3)
        assert width <= 100


def test_some_evidence_begins_where_one_group_alone_would_be_believed() -> None:
    level = log(1 / 0.05)
    weights = {
        sign: evidence_row(
            state(group("g", "a", 9, 1, evidence=evidence(level + sign * 1e-6))).groups[0], state()
        ).weight
        for sign in (-1, 1)
    }
    assert weights == {-1: Weight.NONE, 1: Weight.SOME}


def test_an_alarm_of_a_group_speaks_of_the_group() -> None:
    (row, _, _) = panel_of(busy(), "gender").evidence
    assert (row.weight, row.words) == (Weight.ALARM, "this group is turned away more than the rest")


def test_no_alarm_hides_behind_the_choice_of_a_defense() -> None:
    for asked in ({}, {"defense": "neural_rejection"}, {"model": BEFORE}):
        root = Tree(page_of(busy(), **asked)).root
        (alarms,) = (s for s in root.all("section") if s.attributes.get("aria-labelledby") == "alarms")
        said = [item.text for item in alarms.all("li")]
        assert len(said) == 3
        assert {words.partition(":")[0] for words in said} == {"accent", "gender"}
        assert sum(BEFORE in words for words in said) == (0 if "model" in asked else 1)
        assert root.all("title")[0].text.startswith("(3)")
    calm = Tree(page_of(quiet())).root
    assert "No alarm, of any defense or bundle." in calm.text
    assert calm.all("title")[0].text == "Whom the gateway turns away"


# History


def test_days_are_those_of_the_response_in_figure_and_table() -> None:
    shown = busy()
    panel = panel_of(shown, "accent")
    assert panel.days == tuple(LAST_DAY - timedelta(days=13 - i) for i in range(HISTORY_DAYS))
    (table,) = tables_of(page_of(shown))["Turned away, by accent and day"]
    heads = [cell.text for cell in table.all("thead")[0].all("th")][1:]
    rows = rows_of(table)
    for g in shown.groups[:6]:
        for day in g.days[-HISTORY_DAYS:]:
            cell = rows[str(day.day)][heads.index(g.group)]
            whole = day.accepted + day.rejected
            assert numbers(cell.text) == pytest.approx([round(100 * day.rejected / whole, 1), whole])
    assert "west" not in heads


def test_a_history_is_cut_to_its_newest_days_and_a_day_without_commands_is_a_hole() -> None:
    long = group("gender", "female", 40_000, 4_000, days=HISTORY_DAYS + 30)
    long["days"] = [day for day in long["days"] if day["day"] != (LAST_DAY - timedelta(days=3)).isoformat()]
    panel = panel_of(state(long), "gender")
    assert (len(panel.days), panel.days[-1]) == (HISTORY_DAYS, LAST_DAY)
    (row,) = panel.history
    assert [i for i, day in enumerate(row.days) if day is None] == [HISTORY_DAYS - 4]


def test_a_dot_lies_at_its_days_share_and_the_line_breaks_at_holes() -> None:
    days = [Proportion(10, 100), None, Proportion(0, 50), Proportion(20, 100), None]
    assert re.findall(r"M([\d.]+) ([\d.]+)h0", spark_dots(days, 0.2)) == [("1", "20"), ("5", "40"), ("7", "0")]
    assert spark_line(days, 0.2) == "M1 20M5 40L7 0"
    assert spark_dots([], 0.2) == spark_line([None], 0.2) == ""


def test_a_day_of_few_commands_is_in_the_table_and_sets_no_scale() -> None:
    wild = group("gender", "female", 90, 10, days=1)
    wild["days"].append({"day": "2026-11-22", "accepted": 0, "rejected": DAY_FLOOR - 1})
    panel = panel_of(state(wild), "gender")
    assert panel.day_top == 0.1
    (row,) = panel.history
    assert row.drawn == (None, Proportion(10, 100))
    assert panel.days == (date(2026, 11, 22), date(2026, 11, 23))
    assert "100 (9)" in page_of(state(wild))


# What is shown where


def test_the_default_is_what_is_served_or_else_what_heard_the_most() -> None:
    shown = busy()
    assert fairness_view(shown, bundle="b", served=SERVED).shown == SERVED
    nothing_heard = Source("none", MODEL)
    assert fairness_view(shown, bundle="b", served=nothing_heard).shown == SERVED
    assert fairness_view(quiet(), bundle="b", served=Source("none", MODEL)).shown == Source("none", MODEL)
    new_bundle = Source("smoothing", "ffffffffffff")  # served for a moment, and not yet in the ledger
    view = fairness_view(shown, bundle="b", served=new_bundle)
    assert view.shown == new_bundle
    assert view.is_empty
    with pytest.raises(NoSuchFigures, match="/fairness links to those there are"):
        fairness_view(shown, bundle="b", served=SERVED, defense="none")


def test_every_choice_is_linked_with_what_it_heard() -> None:
    view = fairness_view(busy(), bundle="b", served=SERVED)
    found = {c.source: (c.commands, c.alarms, c.is_shown, c.is_served) for c in view.choices}
    assert found == {
        SERVED: (8017, 2, True, True),
        Source("neural_rejection", MODEL): (122, 0, False, True),
        Source("smoothing", BEFORE): (510, 1, False, False),
    }
    assert view.choices[0].source == SERVED
    (nav,) = Tree(page_of(busy())).root.all("nav")
    linked = [parse_qs(urlsplit(a.attributes["href"] or "").query) for a in nav.all("a")]
    assert [Source(q["defense"][0], q["model"][0]) for q in linked] == [c.source for c in view.choices]
    assert "which is no longer served" in page_of(busy(), model=BEFORE)


def test_before_traffic_the_page_says_what_it_takes_and_shows_no_zeros_dressed_as_shares() -> None:
    root = Tree(page_of(quiet())).root
    text = root.all("main")[0].text
    assert "10 commands of that group from 3 speakers" in text
    assert "A session is" not in text
    assert "female, male, other, undeclared" in text
    assert root.all("table") == root.all("svg") == []
    assert "0 %" not in text.partition("What this page can't say")[0]


def test_an_attribute_without_commands_says_so_among_others_that_have_some() -> None:
    mixed = state(group("accent", "north"), group("gender", "female", 90, 10))
    text = Tree(page_of(mixed)).root.text
    assert "Nothing is released yet by accent" in text
    assert len(tables_of(page_of(mixed))["Turned away"]) == 1


# Names that others chose, and what the page may hold


HOSTILE = "<script>alert(1)</script>\"'&{{ 7 * 7 }}{% raw %} onload=x"


def test_hostile_names_stay_words() -> None:
    evil = state(
        group(HOSTILE, HOSTILE, 300, 30, defense=HOSTILE, evidence=evidence(9, is_alarm=True), labelled=(9, 1, 0)),
        group(HOSTILE, HOSTILE + "2", 300, 90, defense=HOSTILE, evidence=evidence(4, speakers=3), labelled=(9, 1, 0)),
        ledger=HOSTILE,
    )
    for served in (Source(HOSTILE, MODEL), Source("none", HOSTILE)):
        view = fairness_view(evil, bundle=HOSTILE, served=served)
        page = fairness_page(view, refresh=60, now=datetime.now(UTC))
        root = Tree(page).root
        assert root.all("script") == []
        assert HOSTILE in root.text
        everything = [e for name in _names(root) for e in root.all(name)]
        assert not any(attribute.startswith("on") for e in everything for attribute in e.attributes)


def _names(root: Element) -> set[str]:
    inner = [part for part in root.inside if isinstance(part, Element)]
    return {part.name for part in inner} | {name for part in inner for name in _names(part)}


def test_the_page_holds_no_script_no_inline_style_and_nothing_from_elsewhere() -> None:
    page = page_of(busy())
    root = Tree(page).root
    everything = [e for name in _names(root) for e in root.all(name)]
    assert not {"script", "img", "iframe", "object", "form"} & {e.name for e in everything}
    assert not any("style" in e.attributes for e in everything)
    targets = [e.attributes[a] or "" for e in everything for a in ("href", "src") if a in e.attributes]
    assert targets
    assert all(t.startswith(("?", "#", "/v1/fairness", "data:,")) for t in targets)
    assert "url(" not in page
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in OWN_PAGE


def test_colours_of_words_and_marks_stand_out_in_light_and_dark() -> None:
    """WCAG 2.2: 4.5 to 1, relative luminance by its definition."""

    def luminance(colour: str) -> float:
        full = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(full[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    schemes = [dict(re.findall(r"--(\w+): (#\w+);", block)) for block in re.findall(r":root \{(.*?)\}", STYLE)]
    assert len(schemes) == 2
    for colours in schemes:
        for ink, paper in product(("ink", "soft", "mark", "alarm"), ("page", "card")):
            lower, higher = sorted((luminance(colours[ink]), luminance(colours[paper])))
            assert (higher + 0.05) / (lower + 0.05) >= 4.5, (ink, paper)


def test_a_page_of_the_largest_vocabulary_is_small() -> None:
    sizes = {"accent": 15, "age": 9, "gender": 3, "native": 2}
    some = evidence(5.9, speakers=3)
    busy_group = partial(group, accepted=30_000, rejected=3_000, days=40, labelled=(900, 50, 50))
    large = state(
        *(
            busy_group(attribute, name, evidence=None if name == "undeclared" else some)
            for attribute, n in sizes.items()
            for name in (*(f"{attribute} number {i}" for i in range(n)), "other", "undeclared")
        )
    )
    assert len(page_of(large).encode()) < 100_000


def test_each_figure_has_words_beside_it_and_each_table_its_name_and_headers() -> None:
    root = Tree(page_of(busy())).root
    for table in root.all("table"):
        assert len(table.all("caption")) == 1
        assert all(cell.attributes.get("scope") in ("col", "row") and cell.text for cell in table.all("th"))
    for figure in root.all("svg"):
        assert figure.attributes["aria-hidden"] == "true"  # the row's cells say the same
    levels = [int(name[1]) for name in re.findall(r"<(h[1-6])", page_of(busy()))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert set(levels) == {1, 2}
    ids = re.findall(r' id="([^"]+)"', page_of(busy()))
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'aria-labelledby="([^"]+)"', page_of(busy()))) <= set(ids)


def test_it_refreshes_by_itself_only_where_it_is_asked_to() -> None:
    view: FairnessView = fairness_view(busy(), bundle="b", served=SERVED)
    for refresh in (None, 60):
        root = Tree(fairness_page(view, refresh=refresh, now=datetime.now(UTC))).root
        found = [e.attributes["content"] for e in root.all("meta") if e.attributes.get("http-equiv") == "refresh"]
        assert found == ([] if refresh is None else ["60"])
        assert ("Stop refreshing" in root.text) == (refresh is not None)
