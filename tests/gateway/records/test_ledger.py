"""The ledger against counts made by hand, and against an onlooker who looks after every single command."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from databases import GROUPS, Database, claim_of, entry_of, late, put, soon, store
from ground_truth import DEFENSES, PEOPLE, VOCABULARY, Said, Truth, some_command, utc
from robot import Samples, samples_of

import gateway.records
from gateway.records import Records, migrate
from gateway.records.engine import open_engine, parse_url, writing
from gateway.records.ledger import Ledger
from gateway.records.ledger_intake import due, take_in
from gateway.records.retention import erase_older
from gateway.records.tables import DECISIONS, SESSIONS
from gateway.settings import Sync
from monitoring.fairness import Bundle
from monitoring.live import LiveSettings
from monitoring.release import ReleaseRule
from monitoring.series import exposition

SHORT = "0" * 12
SECONDS = 1000
START = 1_795_000_000 // SECONDS * SECONDS + 10.0
BUNDLE = Bundle(SHORT, VOCABULARY, DEFENSES)
LEDGER_TABLES = ("held", "tallies", "tally_days", "sessions", "voices", "evidence", "ledger_models")


class Clock:
    """Seconds since the epoch, as they are set."""

    def __init__(self, at: float = START) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


Open = Callable[..., Ledger]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_ledger(records: Records, clock: Clock) -> Open:
    def build(k: int = 10, m: int = 3, *, grace: float = 0.0, **settings: Any) -> Ledger:
        chosen = LiveSettings(ReleaseRule(k, m), session_seconds=SECONDS, **settings)
        ledger = records.ledger(chosen, grace=grace, now=clock)
        ledger.serve(BUNDLE)
        return ledger

    return build


def say(records: Records, said: Said) -> str:
    groups, speaker = said.groups, said.speaker
    return store(records, said.decision, speaker=speaker, groups=groups, defense=said.defense, received_at=utc(said.at))


def scrape(ledger: Ledger) -> Samples:
    return samples_of(exposition(ledger.snapshot()).decode())


def by_cell(samples: Samples, name: str) -> dict[tuple[str, str, str], dict[str, float]]:
    """attribute, group, defense -> what is left of the labels -> value"""
    found: defaultdict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
    for (called, labels), value in samples.items():
        if called == name:
            have = dict(labels)
            rest = "/".join(v for k, v in sorted(have.items()) if k in ("outcome", "result", "side", "bet", "le"))
            found[have["attribute"], have["group"], have["defense"]][rest] = value
    return found


def counted(ledger: Ledger, **labels: str) -> float:
    ledger.run()
    wanted = set(labels.items())
    name = "evenvoice_group_commands_total"
    return sum((v for (found, have), v in scrape(ledger).items() if found == name and wanted <= have), 0.0)


# What may be seen


@pytest.mark.parametrize(("seed", "k", "m"), [(0, 6, 3), (1, 4, 2)])
def test_an_onlooker_never_sees_a_change_made_by_too_few_and_what_is_seen_is_right(
    open_ledger: Open, records: Records, clock: Clock, seed: int, k: int, m: int
) -> None:
    ledger, truth, chance = open_ledger(k, m, tolerance=0.02), Truth(k, m, SECONDS), random.Random(seed)
    unlabelled: list[tuple[str, Said]] = []
    before, days_before = scrape(ledger), dict(ledger.days())
    moves = {"commands": 0, "labels": 0, "evidence": 0}
    for _ in range(200):
        clock.at += chance.uniform(1, 40)
        if unlabelled and chance.random() < 0.3:
            request_id, said = unlabelled.pop(chance.randrange(len(unlabelled)))
            true = chance.choice(["left", "right"])
            result = "rejected" if said.decision.command is None else "correct" if true == "left" else "wrong"
            records.label(request_id, true)
            if said.score is not None:  # what no defense decided on is not counted
                truth.add(replace(said, label=result))
        else:
            said = some_command(chance, clock.at)
            unlabelled.append((say(records, said), said))
            truth.add(said)
        ledger.run()
        after, days = scrape(ledger), dict(ledger.days())
        moved = set()
        for name, is_of_labels in (("evenvoice_group_commands_total", False), ("evenvoice_group_labelled_total", True)):
            was = by_cell(before, name)
            for cell, values in by_cell(after, name).items():
                if step := round(sum(values.values()) - sum(was[cell].values())):
                    truth.moved(cell, step, is_of_labels=is_of_labels)
                    moved.add((cell, is_of_labels))
                    moves["labels" if is_of_labels else "commands"] += 1
        for cell, values in by_cell(after, "evenvoice_fairness_log_wealth").items():
            gauges = ("evenvoice_fairness_sessions", "evenvoice_fairness_speakers")
            others = [tuple(by_cell(s, name)[cell].values()) for s in (before, after) for name in gauges]
            if by_cell(before, "evenvoice_fairness_log_wealth")[cell] != values or others[:2] != others[2:]:
                truth.evidence_moved(cell, clock.at)
                moves["evidence"] += 1
        assert_right(truth, after, clock.at)
        moving = {cell for cell, is_of_labels in moved if not is_of_labels}
        for (name, labels), value in after.items():  # histograms move with their commands, never alone
            if name.startswith(("evenvoice_rejection_score", "evenvoice_smoothing_draws")):
                have = dict(labels)
                if value != before[name, labels]:
                    assert any(
                        (have["attribute"], have["group"]) == cell[:2] and have.get("defense", cell[2]) == cell[2]
                        for cell in moving
                    )
        for of_day, shown in days.items():
            if days_before.get(of_day) != shown:
                assert (of_day.attribute, of_day.group, of_day.defense) in moving
        before, days_before = after, days
    assert min(moves.values()) >= 5, moves
    for (cell, _, has_speakers), left in truth.waiting.items():
        assert not truth.may_show(left, has_speakers=has_speakers), cell  # and no later than it may be
    for of_day, shown in ledger.days().items():
        outcomes = truth.counts((of_day.attribute, of_day.group, of_day.defense))["outcomes"]
        assert sum(day.accepted for day in shown) == outcomes["accepted"]
        assert sum(day.rejected for day in shown) == outcomes["rejected"]


def assert_right(truth: Truth, samples: Samples, now: float) -> None:
    """Everything that is shown is what was said, by another way of counting."""
    commands, labelled = (by_cell(samples, f"evenvoice_group_{name}_total") for name in ("commands", "labelled"))
    scores = [by_cell(samples, f"evenvoice_rejection_score_{part}") for part in ("count", "sum")]
    wealth = by_cell(samples, "evenvoice_fairness_log_wealth")
    sessions, speakers = (by_cell(samples, f"evenvoice_fairness_{name}") for name in ("sessions", "speakers"))
    draws: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for cell, values in commands.items():
        expected = truth.counts(cell)
        assert {name: count for name, count in values.items() if count} == expected["outcomes"]
        assert {name: count for name, count in labelled[cell].items() if count} == expected["labelled"]
        assert scores[0][cell][""] == expected["scores"][0]
        assert scores[1][cell][""] == pytest.approx(expected["scores"][1])
        certificates = [said.decision.certificate for said in truth.shown[cell, False]]
        draws[cell[:2]] += [c.draws for c in certificates if c is not None and c.draws is not None]
        if cell in wealth:
            logs, own, few = truth.wealth(cell, 0.02, now)
            assert {tuple(k.split("/")): v for k, v in wealth[cell].items()} == pytest.approx(
                {(bet, side): v for (side, bet), v in logs.items()}, abs=1e-9
            )
            assert (sessions[cell][""], speakers[cell][""]) == (own, few)
        else:
            assert cell[1] == "undeclared"
    for (name, labels), value in samples.items():
        if name == "evenvoice_smoothing_draws_sum":
            have = dict(labels)
            assert value == sum(draws[have["attribute"], have["group"]])


@pytest.mark.parametrize("few", ["female", "male"])
def test_evidence_stands_still_while_too_few_speakers_came_since_it_last_moved(
    open_ledger: Open, records: Records, clock: Clock, few: str
) -> None:
    """Whoever was heard before does not hide the one who is heard now."""
    ledger = open_ledger(4, 2)
    seen = []
    for alone in (False, True, True, False):
        for group in ("female", "male"):
            for number in range(4):
                speaker = f"{group}-{0 if alone and group == few else number % 2}"
                store(records, groups={"gender": group}, speaker=speaker, received_at=utc(clock.at + number))
        clock.at += SECONDS
        ledger.run()
        standings = ledger.snapshot().standings.values()
        seen.append(sorted((s.sessions, s.evidence.log_wealth.sum()) for s in standings))
    assert seen[0] == seen[1] == seen[2] != seen[3]
    assert [sessions for sessions, _ in seen[3]] == [0, 6, 8]  # `other` has none


def test_every_series_of_a_bundle_is_there_at_zero_from_the_start(open_ledger: Open) -> None:
    samples = scrape(open_ledger())
    cells = {
        (attribute, group, defense)
        for attribute, groups in VOCABULARY.items()
        for group in (*groups, "other", "undeclared")
        for defense in DEFENSES
    }
    assert by_cell(samples, "evenvoice_group_commands_total").keys() == cells
    bet_on = {cell for cell in cells if cell[1] != "undeclared"}
    assert by_cell(samples, "evenvoice_fairness_log_wealth").keys() == bet_on
    levels = {name for name, _ in samples if "alarm" in name or "last_pass" in name}
    assert all(value == 0 for (name, _), value in samples.items() if name not in levels)


# When, and how often


def test_what_came_just_now_is_not_counted_yet_and_its_correction_is(
    open_ledger: Open, records: Records, clock: Clock
) -> None:
    """A row whose commit took too long is corrected after it: never after it was counted."""
    ledger = open_ledger(1, 1, grace=5)
    store(records, groups=PEOPLE["s0"], speaker="s0", received_at=utc(clock.at))
    clock.at += 4.9
    assert counted(ledger, attribute="accent") == 0
    clock.at += 0.2
    assert counted(ledger, attribute="accent", outcome="accepted") == 1


def test_a_clock_that_is_set_back_or_forward_keeps_nothing_from_being_counted(
    open_ledger: Open, records: Records, clock: Clock
) -> None:
    ledger = open_ledger(1, 1, grace=5)
    for hours in (0, 30, -30, 1):
        store(records, groups=PEOPLE["s0"], speaker="s0", received_at=utc(clock.at + 3600 * hours))
    assert counted(ledger, attribute="accent") == 3
    clock.at += 10
    assert counted(ledger, attribute="accent") == 4


def test_a_speakers_window_is_bet_on_once_though_the_clock_is_set(
    open_ledger: Open, records: Records, database: Database, clock: Clock
) -> None:
    ledger = open_ledger(1, 1)
    for speaker in ("s0", "s1"):
        store(records, groups=PEOPLE[speaker], speaker=speaker, received_at=utc(clock.at))
    clock.at += SECONDS  # forward: the window seems over
    ledger.run()
    shown = ledger.snapshot().standings
    clock.at -= SECONDS - 20
    for speaker in ("s0", "s1"):
        store(records, groups=PEOPLE[speaker], speaker=speaker, received_at=utc(clock.at))
    clock.at += 2 * SECONDS
    ledger.run()
    assert database.rows("sessions") == []
    again = ledger.snapshot().standings
    assert sum(s.sessions for s in again.values()) == sum(s.sessions for s in shown.values()) > 0


def test_a_session_is_settled_only_when_all_that_was_said_in_it_is_taken_in(
    open_ledger: Open, records: Records, database: Database, clock: Clock
) -> None:
    """More decisions than one transaction takes, all of a window that is long over."""
    ledger = open_ledger(1, 1)
    for number in range(150):
        speaker = f"s{number % 10}"
        store(records, groups=PEOPLE[speaker], speaker=speaker, received_at=utc(clock.at + number / 10))
    clock.at += 5 * SECONDS
    ledger.run()
    assert database.rows("sessions") == []
    (row,) = {(v["speaker"], v["position"]) for v in database.rows("voices") if v["speaker"] == "s0"}
    assert row == ("s0", 1)
    assert counted(ledger, attribute="accent") == 150


def test_sessions_are_settled_though_commands_go_on_coming(
    open_ledger: Open, records: Records, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under steady traffic something is always due that came after the last look."""
    ledger = open_ledger(1, 1)
    for speaker in ("s0", "s1"):
        store(records, groups=PEOPLE[speaker], speaker=speaker, received_at=utc(clock.at))
    clock.at += 2 * SECONDS

    def take_in_and_hear(*passed: Any, **named: Any) -> bool:
        more = take_in(*passed, **named)
        store(records, groups=PEOPLE["s2"], speaker="s2", received_at=utc(clock.at))
        return more

    monkeypatch.setattr("gateway.records.ledger.take_in", take_in_and_hear)
    for _ in range(3):
        ledger.run()
        clock.at += 1
    assert {row["speaker"] for row in database.rows("voices")} == {"s0", "s1"}
    assert {row["speaker"] for row in database.rows("sessions")} == {"s2"}


def test_a_pass_that_fails_in_its_middle_each_time_does_not_look_like_one(
    open_ledger: Open, records: Records, database: Database, clock: Clock
) -> None:
    """A ledger that settles nothing is stale, though what is said is still taken in."""
    ledger = open_ledger(1, 1)
    store(records, groups=PEOPLE["s0"], speaker="s0", received_at=utc(clock.at))
    ledger.run()
    passed_at = ledger.snapshot().passed_at
    assert passed_at == clock.at
    database.run("UPDATE sessions SET groups = '7'")  # no evenvoice stores that
    clock.at += 2 * SECONDS
    for _ in range(2):
        store(records, groups=PEOPLE["s0"], speaker="s0", received_at=utc(clock.at))
        with pytest.raises(AttributeError):
            ledger.run()
    assert ledger.snapshot().passed_at == passed_at


def test_a_gateway_whose_turn_never_comes_says_what_it_serves_all_the_same(
    open_ledger: Open, records: Records, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ledger().run()
    other = records.ledger(LiveSettings(), now=clock)
    bundle = replace(BUNDLE, model="f" * 12)
    with monkeypatch.context() as broken:
        broken.setattr(other, "_announce", lambda: None)  # as where the database is away
        other.serve(bundle)
    other.run(unless_within=60)
    assert bundle in other.snapshot().bundles


def test_a_group_that_never_has_speakers_enough_takes_no_more_room_the_more_it_says(
    open_ledger: Open, records: Records, database: Database, clock: Clock
) -> None:
    ledger = open_ledger(10, 3)
    rows = []
    for _ in range(3):
        for number in range(40):
            speaker = ("s0", "s7")[number % 2]
            store(records, groups={"gender": "female"}, speaker=speaker, received_at=utc(clock.at))
        assert counted(ledger) == 0
        rows.append(len(database.rows("held")))
    assert rows == [2, 2, 2]
    store(records, groups={"gender": "female"}, speaker="s9", received_at=utc(clock.at))
    assert counted(ledger, group="female") == 121
    assert database.rows("held") == []


def test_a_restarted_gateway_goes_on_where_the_last_one_ended(
    open_ledger: Open, records: Records, clock: Clock
) -> None:
    for number in range(9):
        store(records, groups=GROUPS, speaker=f"a{number}", received_at=utc(clock.at))
    assert counted(open_ledger()) == 0
    store(records, groups=GROUPS, speaker="a9", received_at=utc(clock.at))
    assert counted(open_ledger(), attribute="accent") == 10
    assert counted(open_ledger(), attribute="accent") == 10


def test_decisions_that_no_evenvoice_stores_hold_up_nobody(
    open_ledger: Open, records: Records, database: Database, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    broken = store(records, groups=GROUPS, received_at=utc(clock.at))
    database.run(f"UPDATE decisions SET defense = 'magic' WHERE request_id = '{broken}'")
    store(records, groups=GROUPS, received_at=utc(clock.at))
    assert counted(open_ledger(1, 1), attribute="accent") == 1
    assert f"the decision {broken} can't be counted" in caplog.text


def test_looking_for_what_waits_reads_no_row_that_does_not(sqlite: Database) -> None:
    """Each second, beside a million decisions that were counted long ago."""
    migrate(sqlite.url)
    engine = open_engine(parse_url(sqlite.url), sync=Sync.NORMAL, wait=10)
    ended = sa.select(SESSIONS).where(SESSIONS.c.ends_at <= START).order_by(SESSIONS.c.ends_at)
    labels = sa.select(DECISIONS).where(DECISIONS.c.is_label_pending).order_by(DECISIONS.c.labelled_at)
    with engine.connect() as connection:
        for query, index in (
            (due(START, 1.0), "SCAN decisions USING INDEX ix_decisions_pending"),
            (labels, "SCAN decisions USING INDEX ix_decisions_label_pending"),
            (ended, "SEARCH sessions USING INDEX ix_sessions_ends_at"),
        ):
            words = str(query.compile(engine, compile_kwargs={"literal_binds": True}))
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {words}").all()
            assert index in str(plan)
    engine.dispose()


# Labels


def test_a_label_that_comes_much_later_and_of_another_bundle_is_counted_as_that_bundles(
    open_ledger: Open, records: Records, clock: Clock
) -> None:
    ledger = open_ledger(1, 1)
    before = store(records, groups=GROUPS, model="sha256:" + "1" * 64, received_at=utc(clock.at))
    counted(ledger)
    clock.at += 10 * 86_400
    records.label(before, "right")
    ledger.run()
    tallies = {cell: tally.labelled for cell, tally in ledger.snapshot().tallies.items()}
    assert {cell.model for cell in tallies} == {"1" * 12}
    assert all(labels == {"correct": 0, "wrong": 1, "rejected": 0} for labels in tallies.values())


def test_the_series_of_a_bundle_that_is_served_no_more_end_after_a_month(open_ledger: Open, clock: Clock) -> None:
    ledger = open_ledger()
    clock.at += 31 * 86_400
    other = replace(BUNDLE, model="f" * 12)
    ledger.serve(other)
    assert ledger.snapshot().bundles == (other,)


# Erasure


def names_in(database: Database, tables: tuple[str, ...], name: str) -> list[str]:
    return [table for table in tables if any(name in str(row) for row in database.rows(table))]


def test_an_erased_speaker_is_in_no_table_and_what_was_released_stays(
    open_ledger: Open, records: Records, database: Database, clock: Clock
) -> None:
    ledger = open_ledger(4, 2)
    for number in range(11):
        speaker = f"voice-{number % 3}"
        store(records, groups={"gender": ("female", "male")[number % 2]}, speaker=speaker, received_at=utc(clock.at))
    ledger.run()
    clock.at += SECONDS
    ledger.run()
    store(records, groups={"gender": "female"}, speaker="voice-1", received_at=utc(clock.at))
    ledger.run()
    shown = scrape(ledger)
    assert set(names_in(database, LEDGER_TABLES, "voice-1")) == {"held", "sessions", "voices"}
    erased = records.register().erase("voice-1")
    assert (erased.decisions, erased.uncounted) == (5, 1)
    assert names_in(database, ("decisions", *LEDGER_TABLES), "voice-1") == []
    assert names_in(database, LEDGER_TABLES, "voice-2") != []
    after = scrape(ledger)
    assert {k: v for k, v in after.items() if "last_pass" not in k[0]} == {
        k: v for k, v in shown.items() if "last_pass" not in k[0]
    }


def test_what_is_erased_while_a_pass_computes_does_not_come_back(
    open_ledger: Open, records: Records, database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The erasure comes between what the pass reads and what it would write."""
    ledger = open_ledger(1, 1)
    store(records, groups=GROUPS, speaker="voice-1", received_at=utc(clock.at))
    meanwhile = [lambda: records.register().erase("voice-1")]

    def erase_first(engine: Any) -> Any:
        if meanwhile:
            meanwhile.pop()()
        return writing(engine)

    monkeypatch.setattr("gateway.records.ledger_intake.writing", erase_first)
    assert counted(ledger) == 0
    assert not meanwhile
    assert names_in(database, ("decisions", *LEDGER_TABLES), "voice-1") == []


def test_what_is_too_old_leaves_the_ledger_and_is_told(
    open_ledger: Open, records: Records, database: Database, clock: Clock
) -> None:
    ledger = open_ledger(10, 3)
    for number in range(4):
        store(records, groups={"gender": "female"}, speaker="s0", received_at=utc(clock.at + number))
    clock.at += 10
    ledger.run()
    store(records, groups={"gender": "female"}, speaker="s3", received_at=utc(clock.at + 3600))  # not taken in yet
    engine = open_engine(parse_url(database.url), sync=Sync.NORMAL, wait=10)
    erased = erase_older(engine, None, utc(clock.at + 7200))
    engine.dispose()
    assert (erased.decisions, erased.uncounted) == (5, 5)
    assert all(database.rows(table) == [] for table in ("decisions", "held", "sessions", "voices"))


# An older database


OF_BEFORE = """
INSERT INTO decisions (request_id, received_at, outcome, reason, command, defense, confidence, p_value, draws, seed,
    speaker, groups, model, true_command, labelled_at)
VALUES ('{id}', '2026-01-02 03:04:05.678900', 'accepted', 'ok', 'left', 'smoothing', 0.75, 0.0, 100, 7, 'a1',
    '{{"accent": "north"}}', 'sha256:000000000000', {label})
"""


def test_what_an_evenvoice_without_a_ledger_stored_stays_and_is_not_counted_again(database: Database) -> None:
    make_0002(database)
    database.run(OF_BEFORE.format(id="plain", label="NULL, NULL"))
    database.run(OF_BEFORE.format(id="labelled", label="'left', '2026-01-02 03:04:06'"))
    before = database.rows()
    migrate(database.url)
    assert [{k: row[k] for k in before[0]} for row in database.rows()] == before
    records = Records(database.url)
    ledger = records.ledger(LiveSettings(ReleaseRule(1, 1)), grace=0)
    ledger.serve(replace(BUNDLE, defenses=("smoothing",)))
    assert counted(ledger) == 0
    records.label("plain", "left")  # a label that comes now is new
    new = store(records)
    assert counted(ledger, attribute="accent") == 1
    labels = by_cell(scrape(ledger), "evenvoice_group_labelled_total")
    assert labels["accent", "north", "smoothing"] == {"correct": 1, "wrong": 0, "rejected": 0}
    assert {row["request_id"] for row in database.rows() if row["is_pending"] is not None} == {new}
    records.close()


def make_0002(database: Database) -> None:
    """The tables of the evenvoice that had no ledger yet."""
    if database.file is not None:
        database.file.parent.mkdir()
    config = Config()
    config.set_main_option("script_location", str(Path(gateway.records.__file__).parent / "migrations"))
    engine = sa.create_engine(database.url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
    engine.dispose()


def test_a_late_acceptance_is_counted_as_the_abstention_that_it_became(
    open_ledger: Open, records: Records, clock: Clock
) -> None:
    entry = entry_of(groups=GROUPS, received_at=utc(clock.at))
    records.add(entry, until=soon() - 7200, late=late).result(timeout=60)
    put(records, entry_of(groups=GROUPS, received_at=utc(clock.at + 1)), claim_of("key"))
    clock.at += 5
    ledger = open_ledger(1, 1)
    assert counted(ledger, attribute="accent", outcome="service") == 1
    assert counted(ledger, attribute="accent", outcome="accepted") == 1


def test_the_ledgers_name_is_the_databases(open_ledger: Open, database: Database) -> None:
    (row,) = database.rows("ledger")
    assert open_ledger().snapshot().ledger == open_ledger().snapshot().ledger == row["id"]
    assert len(row["id"]) == 8
