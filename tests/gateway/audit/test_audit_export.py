"""An audit in Prometheus: what it exports is what audit.json says, by textfile, Pushgateway and a real Prometheus."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_server import PROMTOOL, Prometheus, Pushgateway, needs_prometheus
from robot import Evenvoice, Samples, samples_of

from gateway.cli.audit.publishing import publish, publish_failure
from monitoring.report.load import load_report

CLEAN, FIGURES = ("accuracy", "rejection", "auc_fpr"), ("accuracy", "rejection", "auc_fpr", "auc_acc")


@pytest.fixture
def written(audited: Path) -> dict[str, Any]:
    """audit.json as it stands."""
    found: dict[str, Any] = json.loads((audited / "audit.json").read_text())
    return found


def expected(report: dict[str, Any], corpus: str) -> Samples:
    """Every series but the time of the audit, from the JSON alone."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}

    def add(name: str, value: float | None, **labels: str) -> None:
        if value is not None:
            found[f"evenvoice_audit_{name}", frozenset({"corpus": corpus, **labels}.items())] = value

    for result in report["defenses"]:
        attacked = (result["attacked"] or {"attributes": []})["attributes"]
        for attribute, figures in [(a, CLEAN) for a in result["attributes"]] + [(a, ("auc_acc",)) for a in attacked]:
            of = {"defense": result["defense"], "attribute": attribute["attribute"]}
            for group in attribute["groups"]:
                if figures == CLEAN:
                    add("speakers", group["speakers"], group=group["group"], **of)
                for figure in figures:
                    estimate = group[figure] or {"mean": None, "lower": None, "upper": None}
                    add(figure, estimate["mean"], group=group["group"], **of)
                    add(f"{figure}_lower", estimate["lower"], group=group["group"], **of)
                    add(f"{figure}_upper", estimate["upper"], group=group["group"], **of)
            for gap in attribute["gaps"]:
                add("gap", gap["value_compared"], metric=gap["metric"], **of)
                add("gap_lower", gap["lower"], metric=gap["metric"], **of)
                add("gap_upper", gap["upper"], metric=gap["metric"], **of)
                add("verdict", 1.0, metric=gap["metric"], verdict=gap["verdict"], **of)
    return found


def figures_of(samples: Samples) -> Samples:
    """What `expected` has."""
    of_the_run = ("last_success_timestamp_seconds", "duration_seconds", "exit_code")
    known = {s for f in FIGURES for s in (f, f"{f}_lower", f"{f}_upper")}
    known |= {"speakers", "gap", "gap_lower", "gap_upper", "verdict"}
    short = {key: key[0].removeprefix("evenvoice_audit_") for key in samples}
    assert not {"push_time_seconds"} & set(short.values())
    return {key: value for key, value in samples.items() if short[key] in known and short[key] not in of_the_run}


def test_a_textfile_holds_every_figure_of_the_report(
    evenvoice: Evenvoice, audited: Path, written: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "collected" / "audit.prom"
    done = evenvoice("audit", "export", audited / "audit.json", "--textfile", out, "--corpus", "tones")
    assert (done.code, done.err) == (0, "")
    samples = samples_of(out.read_text())
    wanted = expected(written, "tones")
    assert figures_of(samples) == wanted
    assert {"gap_lower", "accuracy_upper", "auc_fpr"} <= {name.removeprefix("evenvoice_audit_") for name, _ in wanted}
    assert [p.name for p in out.parent.iterdir()] == ["audit.prom"]  # nothing half-written stays


def test_an_exported_audit_is_as_old_as_it_is(
    evenvoice: Evenvoice, audited: Path, written: dict[str, Any], tmp_path: Path
) -> None:
    """A timer that exports an old report again must not silence the alert that audits are stale."""
    evenvoice("audit", "export", audited / "audit.json", "--textfile", tmp_path / "a.prom")
    samples = samples_of((tmp_path / "a.prom").read_text())
    made = datetime.fromisoformat(written["created_at"]).timestamp()
    key = ("evenvoice_audit_last_success_timestamp_seconds", frozenset({("corpus", written["manifest"])}))
    assert samples[key] == made


@needs_prometheus
def test_promtool_accepts_the_textfile(audited: Path, tmp_path: Path) -> None:
    report = load_report(audited / "audit.json")
    publish(report, corpus='q"\\\n', textfile=tmp_path / "a.prom", pushgateway=None)
    with (tmp_path / "a.prom").open() as text:
        done = subprocess.run([str(PROMTOOL), "check", "metrics"], stdin=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_after_a_failure_the_textfile_keeps_the_figures_and_says_that_it_failed(audited: Path, tmp_path: Path) -> None:
    report, out = load_report(audited / "audit.json"), tmp_path / "a.prom"
    publish(report, corpus="c", textfile=out, pushgateway=None)
    before = samples_of(out.read_text())
    publish_failure(corpus="c", seconds=0.5, textfile=out, pushgateway=None)
    after = samples_of(out.read_text())
    of_the_run = {
        ("evenvoice_audit_exit_code", frozenset({("corpus", "c")})): 3.0,
        ("evenvoice_audit_duration_seconds", frozenset({("corpus", "c")})): 0.5,
    }
    assert before.keys() == after.keys()
    assert after == before | of_the_run
    assert before != after


def test_a_first_audit_that_fails_has_no_last_success(tmp_path: Path) -> None:
    publish_failure(corpus="c", seconds=0.5, textfile=tmp_path / "a.prom", pushgateway=None)
    names = {name for name, _ in samples_of((tmp_path / "a.prom").read_text())}
    assert names == {"evenvoice_audit_exit_code", "evenvoice_audit_duration_seconds"}


@pytest.fixture
def pushed(tmp_path: Path) -> Iterator[Pushgateway]:
    gateway = Pushgateway(tmp_path)
    yield gateway
    gateway.stop()


@pytest.fixture
def prometheus(pushed: Pushgateway, tmp_path: Path) -> Iterator[Prometheus]:
    """One that scrapes it each second, as docs/audit-tools.md says."""
    started = Prometheus(tmp_path / "prometheus", {"pushgateway": (pushed.host,)})
    yield started
    started.stop()


@needs_prometheus
def test_prometheus_has_the_audit_that_was_pushed_and_no_group_that_is_gone(
    audited: Path, written: dict[str, Any], pushed: Pushgateway, prometheus: Prometheus
) -> None:
    report = load_report(audited / "audit.json")
    corpus = "north/south"  # which the Pushgateway's path can hold in base64 only
    gateway = f"http://{pushed.host}"
    publish(report, corpus=corpus, textfile=None, pushgateway=gateway)
    publish(report, corpus="other", textfile=None, pushgateway=gateway)
    query = f'{{__name__=~"evenvoice_audit_.*", corpus="{corpus}"}}'
    found = [(dict(labels), value) for labels, value in prometheus.until(query)]
    assert {(m.pop("job"), m.pop("instance", "")) for m, _ in found} == {("evenvoice_audit", "")}
    samples = {(m.pop("__name__"), frozenset(m.items())): value for m, value in found}
    assert figures_of(samples) == expected(written, corpus)
    seconds = samples["evenvoice_audit_duration_seconds", frozenset({("corpus", corpus)})]
    assert seconds == written["runtime"]["seconds"]

    gone = report.defenses[0].attributes[0].groups[0].group
    first = report.defenses[0].attributes[0]
    fewer = first.model_copy(update={"groups": first.groups[1:]})
    smaller = report.defenses[0].model_copy(update={"attributes": (fewer,)})
    later = report.created_at + timedelta(days=1)
    report = report.model_copy(update={"defenses": (smaller,), "created_at": later})
    publish(report, corpus=corpus, textfile=None, pushgateway=gateway)
    of_corpus = f'evenvoice_audit_last_success_timestamp_seconds{{corpus="{corpus}"}}'
    assert prometheus.until(f"{of_corpus} == {later.timestamp()}")
    assert prometheus.query(f'evenvoice_audit_accuracy{{corpus="{corpus}", group="{gone}"}}') == []
    assert prometheus.query(f'evenvoice_audit_accuracy{{corpus="other", group="{gone}"}}') != []

    publish_failure(corpus=corpus, seconds=0.1, textfile=None, pushgateway=gateway)
    assert prometheus.until(f'evenvoice_audit_exit_code{{corpus="{corpus}"}} == 3')
    assert prometheus.query(f'evenvoice_audit_accuracy{{corpus="{corpus}"}}') != []
    assert prometheus.query(f"{of_corpus} == {later.timestamp()}") != []


def test_an_export_beside_a_gateway_adds_nothing_to_the_gateways_counters(audited: Path, tmp_path: Path) -> None:
    shared = tmp_path / "multiprocess"
    shared.mkdir()
    arguments = ("audit", "export", audited / "audit.json", "--textfile", tmp_path / "a.prom")
    done = subprocess.run(
        [Path(sys.executable).with_name("evenvoice"), *arguments],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(shared)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert list(shared.iterdir()) == []
    assert "evenvoice_audit_accuracy{" in (tmp_path / "a.prom").read_text()


def test_a_pushgateway_that_is_not_there_is_one_line(evenvoice: Evenvoice, audited: Path) -> None:
    done = evenvoice("audit", "export", audited / "audit.json", "--pushgateway", "http://127.0.0.1:9")
    assert done.code != 0
    assert done.err.startswith("evenvoice: the Pushgateway at http://127.0.0.1:9 did not take the audit")
    assert len(done.err.splitlines()) == 1


def test_a_file_that_is_no_report_is_one_line(evenvoice: Evenvoice, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"schema": "evenvoice.audit/99"}')
    done = evenvoice("audit", "export", tmp_path / "a.json", "--textfile", tmp_path / "a.prom")
    assert done.code != 0
    assert f"{tmp_path / 'a.json'} is of the schema evenvoice.audit/99" in done.err
    assert not (tmp_path / "a.prom").exists()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--textfile", "audit.txt", "does not end in .prom"),
        ("--pushgateway", "localhost:9091", "it is no URL"),
        ("--pushgateway", "http://user:word@localhost:9091", "a password in a URL ends up in logs"),
    ],
)
def test_a_place_that_is_none_is_a_usage_error(
    evenvoice: Evenvoice, audited: Path, option: str, value: str, words: str
) -> None:
    done = evenvoice("audit", "export", audited / "audit.json", option, value)
    assert done.code != 0
    assert words in done.err


def test_an_export_to_nowhere_is_a_usage_error(evenvoice: Evenvoice, audited: Path) -> None:
    done = evenvoice("audit", "export", audited / "audit.json")
    assert done.code != 0
    assert "name --textfile FILE.prom, --pushgateway URL or both" in " ".join(done.err.split())


def test_an_audit_that_runs_exports_itself_and_one_that_fails_says_so(
    evenvoice: Evenvoice, bundle: Path, many_speakers: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.prom"
    arguments = ("audit", "run", "--bundle", bundle, "--defense", "none", "--attacked-clips", "0", "--textfile", out)
    done = evenvoice(*arguments, "--manifest", many_speakers)
    before = samples_of(out.read_text())
    exit_code = ("evenvoice_audit_exit_code", frozenset({("corpus", "many.csv")}))
    assert before[exit_code] == done.code != 3
    nowhere = tmp_path / "many.csv"
    failed = evenvoice(*arguments, "--manifest", nowhere, "--pushgateway", "http://127.0.0.1:9")
    assert failed.code == 3
    assert "the Pushgateway at http://127.0.0.1:9 did not take the audit" in " ".join(failed.err.split())
    assert f"evenvoice: there is no manifest at {nowhere}" in failed.err  # not hidden by what comes after it
    after = samples_of(out.read_text())
    assert after[exit_code] == 3
    assert before.keys() == after.keys()
