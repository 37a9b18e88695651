"""From sound to alarm: the audio of one group is made worse, and Alertmanager hears that this group is turned away.

Nothing is injected: a served gateway decides on clips, its ledger bets on sessions, Prometheus scrapes it and computes
the rules. Real digits where EVENVOICE_SPEECH has them, of speakers enough for an alarm on the group; the tests' tones
otherwise, of so few that it may speak of these speakers only.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
import soundfile
from prometheus_server import Prometheus, free_port, needs_prometheus
from robot import encoded
from test_served import Server

from gateway.stack.crowd import worsened
from monitoring.rules import RuleSettings, rules_file
from recognizer.decision import UNKNOWN
from recognizer.defense import DefenseName
from recognizer.manifest import load_manifest
from training.build import BuildSettings, build_bundle
from training.corpora.audiomnist import DIGITS
from training.corpora.folder import own_manifest
from training.hardening import Recipe

DEFENSE = DefenseName.NEURAL_REJECTION.value
WORSE, BETTER = "south", "north"
BETTING = ("EvenvoiceGroupFaresDifferently", "EvenvoiceSpeakersFareDifferently")
ALERTMANAGER_FILE = Path(__file__).parent.parent.parent / "deploy" / "prometheus" / "alertmanager.yml"

pytestmark = needs_prometheus


@dataclass(frozen=True)
class Corpus:
    """Who speaks, what, and to which bundle."""

    bundle: Path
    register: Path
    clips: Mapping[str, tuple[Path, ...]]
    """Speaker -> clips."""
    groups: Mapping[str, str]
    """Speaker -> accent."""
    sessions: int
    """Of the group whose audio gets worse, that must be silent before; the alarm takes no more."""
    alarm: str
    whom: str
    """Of whom the alarm speaks."""


@pytest.fixture(scope="module")
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    speech = Path(os.environ.get("EVENVOICE_SPEECH", ""))
    if (speech / "duke_digits" / "manifest.csv").is_file():
        return _digits(speech.resolve() / "duke_digits", tmp_path_factory.mktemp("digits"))
    manifest = load_manifest(request.getfixturevalue("tone_manifest")).table
    manifest = manifest[manifest["command"] != UNKNOWN]  # turned away whoever makes them
    return Corpus(
        request.getfixturevalue("bundle"),
        request.getfixturevalue("speakers_csv"),
        {who: tuple(map(Path, paths)) for who, paths in manifest.groupby("speaker")["path"]},
        dict(zip(manifest["speaker"], manifest["accent"], strict=True)),
        sessions=60,
        alarm="EvenvoiceSpeakersFareDifferently",
        whom=f"These speakers of accent {WORSE} are",
    )


def _digits(source: Path, folder: Path) -> Corpus:
    """Speakers of real digits, dealt out to two groups: between which there is no difference but chance."""
    table = pd.read_csv(source / "manifest.csv")
    table["path"] = [str(source / path) for path in table["path"]]
    speakers = sorted(table["speaker"].unique())
    np.random.default_rng(5).shuffle(speakers)
    groups = {who: (WORSE, BETTER)[i % 2] for i, who in enumerate(speakers)}
    table["accent"] = table["speaker"].map(groups)
    table.to_csv(folder / "manifest.csv", index=False)
    manifest = own_manifest(
        [folder / "manifest.csv"],
        columns={"command": "label"},
        commands=DIGITS,
        others="drop",
        attributes=("accent", "gender"),
    ).manifest
    settings = BuildSettings(
        name="digits", recipe=Recipe(epochs=10, clips_a_speaker=20), allowed=(DEFENSE,), default_defense=DEFENSE
    )
    build_bundle(manifest, folder / "bundle", settings)
    register = folder / "speakers.csv"
    manifest.table.drop_duplicates("speaker")[["speaker", "accent", "gender"]].to_csv(register, index=False)
    clips = {who: tuple(map(Path, paths)) for who, paths in manifest.table.groupby("speaker")["path"]}
    assert min(list(groups.values()).count(group) for group in (WORSE, BETTER)) >= 20
    return Corpus(
        folder / "bundle",
        register,
        clips,
        groups,
        sessions=100,
        alarm="EvenvoiceGroupFaresDifferently",
        whom=f"accent {WORSE} is",
    )


@dataclass
class Traffic:
    """Every speaker in turn, again and again, from several clients at once, until it is closed."""

    server: Server
    corpus: Corpus
    is_worse: bool = False

    def __post_init__(self) -> None:
        rng = np.random.default_rng(11)
        takes = [(who, path) for who, paths in self.corpus.clips.items() for path in rng.permutation(paths)[:5]]
        self._said = [self._spoken(*takes[i], rng) for i in rng.permutation(len(takes))]
        self._turns, self._lock, self._over = itertools.cycle(self._said), threading.Lock(), threading.Event()
        self._pool = ThreadPoolExecutor(3)
        self._clients = [self._pool.submit(self._speak) for _ in range(3)]

    def _spoken(self, who: str, path: Path, rng: np.random.Generator) -> tuple[str, bytes, bytes]:
        samples, rate = soundfile.read(path)
        return who, encoded(samples, rate), encoded(worsened(samples, rate, rng), rate)

    def _speak(self) -> None:
        url = f"http://127.0.0.1:{self.server.port}/v1/commands"
        with httpx.Client(timeout=30, headers={"content-type": "audio/wav"}) as client:
            while not self._over.is_set():
                with self._lock:
                    who, clear, worse = next(self._turns)
                clip = worse if self.is_worse and self.corpus.groups[who] == WORSE else clear
                client.post(url, content=clip, params={"speaker": who, "defense": DEFENSE}).raise_for_status()

    def close(self) -> None:
        self._over.set()
        self._pool.shutdown()
        for client in self._clients:
            client.result()


@contextmanager
def alertmanager(folder: Path) -> Iterator[str]:
    """The host:port of a real one, with the configuration that is deployed."""
    program = shutil.which("prometheus-alertmanager")
    if program is None:
        pytest.skip("prometheus-alertmanager is not installed")
    host = f"127.0.0.1:{free_port()}"
    options = (
        f"--config.file={ALERTMANAGER_FILE}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={host}",
        "--cluster.listen-address=",
    )
    with (folder / "alertmanager.log").open("w") as log:
        process = subprocess.Popen([program, *options], stdout=log, stderr=subprocess.STDOUT)
    try:
        yield host
    finally:
        process.terminate()
        process.wait(20)


def sessions_of(prometheus: Prometheus, group: str, *, at: datetime | None = None) -> float:
    """Bet on so far, or until a moment; 0 before the first scrape."""
    labels = f'{{attribute="accent", group="{group}", defense="{DEFENSE}"}}'
    found = prometheus.query(f"evenvoice_fairness_sessions{labels}", at=at.timestamp() if at else None)
    return found[0][1] if found else 0.0


def betting_alerts(prometheus: Prometheus) -> list[Mapping[str, str]]:
    return [alert for alert in prometheus.alerts() if alert["alertname"] in BETTING]


@pytest.mark.timeout(300)
def test_the_group_whose_audio_gets_worse_raises_the_alarm_and_no_other(corpus: Corpus, tmp_path: Path) -> None:
    environment = {
        "EVENVOICE_SESSION_SECONDS": "1",
        "EVENVOICE_LEDGER_SECONDS": "0.2",
        "EVENVOICE_LEDGER_GRACE_SECONDS": "0.3",
        "EVENVOICE_DEADLINE_MS": "20000",
        "EVENVOICE_VALID_FOR_MS": "30000",
    }
    rules = rules_file(RuleSettings(window="10m", hold="1s", interval="1s", job="evenvoice"))
    with ExitStack() as stack:
        server = Server(tmp_path, corpus.bundle, ("--speakers", str(corpus.register)), environment)
        stack.callback(server.kill)
        told = stack.enter_context(alertmanager(tmp_path))
        server.ready()
        prometheus = Prometheus(
            tmp_path / "prometheus",
            {"evenvoice": [f"127.0.0.1:{server.port}"]},
            rules=rules,
            alertmanagers=[told],
        )
        stack.callback(prometheus.stop)
        traffic = Traffic(server, corpus)
        stack.callback(traffic.close)

        ends = time.monotonic() + 90
        while (before := sessions_of(prometheus, WORSE)) < corpus.sessions:
            assert betting_alerts(prometheus) == []  # as long, and with the same clips
            assert time.monotonic() < ends, server.said
            time.sleep(0.2)

        traffic.is_worse = True
        while not (alarms := [a for a in betting_alerts(prometheus) if a["group"] == WORSE]):
            assert time.monotonic() < ends + 90, server.said
            time.sleep(0.2)
        alarm = dict(alarms[0])
        assert len(alarms) == 1
        assert sessions_of(prometheus, WORSE, at=datetime.fromisoformat(alarm.pop("activeAt"))) <= 2 * before
        model = prometheus.query("evenvoice_fairness_alarm_log_wealth")[0][0]["model"]
        assert alarm == {
            "alertname": corpus.alarm,
            "severity": "page",
            "attribute": "accent",
            "group": WORSE,
            "defense": DEFENSE,
            "model": model,
            "side": "more",
            "state": "firing",
        }

        time.sleep(3)  # the same traffic, on
        others = [a for a in betting_alerts(prometheus) if a["group"] != WORSE]
        # of two groups the other is turned away less than the rest, which is this one; both genders are in both
        assert {(a["attribute"], a["group"], a["side"]) for a in others} <= {("accent", BETTER, "less")}
        heard = httpx.get(f"http://{told}/api/v2/alerts", params={"filter": f'group="{WORSE}"'}).json()
        page = next(a for a in heard if a["labels"]["alertname"] == corpus.alarm)
        assert [receiver["name"] for receiver in page["receivers"]] == ["page"]
        assert page["annotations"]["summary"] == f"{corpus.whom} turned away more often than the rest"
