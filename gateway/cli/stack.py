"""`evenvoice stack`: a gateway, what watches it, and people of whom one group is heard worse, on one machine."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import click

from gateway.cli.options import BUNDLE, FILE, FOLDER, Number
from gateway.cli.progress import console
from gateway.client import Client
from gateway.schemas import ModelResponse
from gateway.stack import monitors
from gateway.stack.claim import claimed
from gateway.stack.crowd import Crowd, Group, group_to_worsen, takes_of
from gateway.stack.ports import LOOPBACK, port_near, reach_loopback
from gateway.stack.program import Program, running
from gateway.stack.served import EVENVOICE, LOG, served
from gateway.stack.watching import Alert, alert_lines, alerts, groups_table, released, standing
from recognizer.defense import DefenseName
from recognizer.manifest import Manifest, load_manifest

PORT = 3000
SESSION_SECONDS = 5
"""A speaker's commands of so many seconds are one piece of evidence; of a day, where it is not for show."""
_LEDGER = {"EVENVOICE_SESSION_SECONDS": str(SESSION_SECONDS)}
_OURS = ("EVENVOICE_", "BENTOML", "PROMETHEUS")
_LOOK_SECONDS = 5.0
_ALARM_SECONDS = 300.0
"""After which no alarm is waited for."""


class NoAlarm(RuntimeError):
    """Nothing fired."""


@dataclass(frozen=True)
class Urls:
    """Where the parts answer; None for what is not installed."""

    gateway: str
    prometheus: str
    alertmanager: str | None
    pushgateway: str | None


def _group(_: click.Context, parameter: click.Parameter, value: str | None) -> Group | None:
    if value is None:
        return None
    attribute, sign, name = value.partition("=")
    if not (attribute and sign and name):
        raise click.BadParameter(f"{value!r} is not ATTRIBUTE=GROUP, such as gender=female", param=parameter)
    return Group(attribute, name)


@click.command("stack")
@click.option("--bundle", type=BUNDLE, default=Path("demo/bundle"), show_default=True)
@click.option(
    "--manifest",
    type=FILE,
    default=Path("demo/corpus/manifest.csv"),
    show_default=True,
    help="Whose test speakers speak, and are audited.",
)
@click.option("--folder", type=FOLDER, default=Path("runs/stack"), show_default=True, help="Rewritten from scratch.")
@click.option(
    "--worse", callback=_group, help="ATTRIBUTE=GROUP that is heard worse. [default: where evidence comes soonest]"
)
@click.option("--defense", help="That decides. [default: neural rejection where the bundle allows it, or its default]")
@click.option(
    "--clear-seconds", type=Number(0), default=20.0, show_default=True, help="In which all are heard well, first."
)
@click.option("--pace", type=Number(1, 1000), default=30.0, show_default=True, help="Commands a second, in all.")
@click.option("--once", is_flag=True, help="End when the alarm fires instead of at Ctrl-C.")
def command(
    bundle: Path,
    manifest: Path,
    folder: Path,
    worse: Group | None,
    defense: str | None,
    clear_seconds: float,
    pace: float,
    once: bool,
) -> None:
    """Serve a bundle beside a real Prometheus, Alertmanager and Pushgateway, and watch an alarm come.

    The test speakers of a manifest speak to the gateway. At first all are heard well; then the clips of one group are
    made worse, as by a bad microphone, and it is turned away more. All of it listens on 127.0.0.1 only and ends with
    this command.
    """
    for path in (bundle, manifest):
        if not path.exists():
            raise click.ClickException(f"{path} is not there; `evenvoice demo --once` makes the demo's")
    lacking = monitors.missing()
    how = f"on Debian and Ubuntu: apt install {' '.join(lacking)}"
    if monitors.PROMETHEUS in lacking:
        raise click.ClickException(f"Prometheus is not installed; {how}")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell has set it aside
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # all of it ends with this process
    if lacking:
        console.print(f"Without {' and '.join(lacking)}; {how}")
    reach_loopback()
    people = load_manifest(manifest, default_split="test").split("test")
    with claimed(folder, kind="stack"), _started(bundle, people, folder) as (gateway, urls):
        _say_where(urls, folder)
        if urls.pushgateway:
            _audit(bundle, manifest, folder, urls.pushgateway)
        with Client(urls.gateway) as client:
            model = client.model()
        chosen = defense or _defense_of(model)
        group = worse or group_to_worsen(people, model.groups)
        crowd = Crowd(urls.gateway, takes_of(people, group, seed=0), defense=chosen, commands_a_second=pace)
        show = Show(gateway, urls, group, chosen)
        with crowd.speaking(), suppress(KeyboardInterrupt):
            console.print(f"\n{people.table['speaker'].nunique()} speakers say {pace:g} commands a second to {chosen}.")
            console.print("Turned away, of those decided; evidence by betting, of what an alarm takes:")
            show.follow(seconds=clear_seconds)
            crowd.is_worse = True
            console.print(f"\nFrom now on {group} is heard worse: muffled, faint, under noise.")
            show.await_alarm()
            if not once:
                console.print(f"\nIt goes on until Ctrl-C; {urls.gateway}/fairness")
                show.follow()


def _defense_of(model: ModelResponse) -> str:
    """Neural rejection, which turns away what is unlike all that it learned; smoothing is as sure of noise."""
    names = [d.name for d in sorted(model.defenses, key=lambda d: not d.is_default)]
    return DefenseName.NEURAL_REJECTION if DefenseName.NEURAL_REJECTION in names else names[0]


@contextmanager
def _started(bundle: Path, people: Manifest, folder: Path) -> Iterator[tuple[Program, Urls]]:
    """Everything, ready."""
    speakers = folder / "speakers.csv"
    people.table.drop_duplicates("speaker")[["speaker", *people.attributes]].to_csv(speakers, index=False)
    (folder / "gateway").mkdir()
    port = port_near(PORT)
    with ExitStack() as stack:
        told = _entered(stack, monitors.ALERTMANAGER, monitors.alertmanager, folder)
        pushed = _entered(stack, monitors.PUSHGATEWAY, monitors.pushgateway, folder)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)} | _LEDGER
        gateway = stack.enter_context(
            served(
                bundle,
                speakers=speakers,
                folder=folder / "gateway",
                host=LOOPBACK,
                port=port,
                environment=environment,
            )
        )
        prometheus = stack.enter_context(
            monitors.prometheus(
                folder / monitors.PROMETHEUS, gateway=f"{LOOPBACK}:{port}", pushed=_host(pushed), told=_host(told)
            )
        )
        yield gateway, Urls(f"http://{LOOPBACK}:{port}", prometheus, told, pushed)


def _entered(
    stack: ExitStack, name: str, start: Callable[[Path], AbstractContextManager[str]], folder: Path
) -> str | None:
    """The URL of a part, where it is installed."""
    return None if name in monitors.missing() else stack.enter_context(start(folder / name))


def _host(url: str | None) -> str | None:
    return None if url is None else url.removeprefix("http://")


def _say_where(urls: Urls, folder: Path) -> None:
    console.print(
        f"fairness      {urls.gateway}/fairness?refresh=10\n"
        f"alerts        {monitors.alerts_page(urls.prometheus)}\n"
        f"Alertmanager  {f'{urls.alertmanager}/api/v2/alerts' if urls.alertmanager else 'not installed'}\n"
        f"Pushgateway   {urls.pushgateway or 'not installed'}\n"
        f"logs          {folder}/*/*.log, {folder / 'gateway' / LOG}"
    )


def _audit(bundle: Path, manifest: Path, folder: Path, pushgateway: str) -> None:
    """One audit, as a timer would start it; its verdict is pushed."""
    log = folder / "audit.log"
    what = ("--bundle", bundle, "--manifest", manifest, "--attacked-clips", "0", "--out", folder / "audit")
    console.print(f"\nThe audit that a timer starts once a week runs, and pushes its verdict; {log}")
    with running("the audit", [*EVENVOICE, "audit", "run", *what, "--pushgateway", pushgateway], log=log) as audit:
        code = audit.result()
    if code > 2:
        audit.check()
    console.print(log.read_text(encoding="utf-8").strip().rpartition("\n")[2])


@dataclass
class Show:
    """The terminal."""

    gateway: Program
    urls: Urls
    group: Group
    defense: str

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._said: list[str] = []

    def follow(self, *, seconds: float = float("inf")) -> None:
        """A line now and then."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(min(_LOOK_SECONDS, max(0.0, until - time.monotonic())))
            self._say()

    def await_alarm(self) -> None:
        """A line now and then until the alarm on the group fires, and then whom the gateway turns away.

        Raises:
            NoAlarm: it does not.
        """
        began = time.monotonic()
        found = self._say()
        while not any(alert.is_alarm_on(self.group) for alert in found):
            if time.monotonic() - began > _ALARM_SECONDS:
                raise NoAlarm(
                    f"no alarm on {self.group} within {_ALARM_SECONDS:.0f} s: with so few speakers, or a defense that "
                    f"turns nobody away, there is none; look at {self.urls.gateway}/fairness"
                )
            time.sleep(_LOOK_SECONDS)
            found = self._say()
        console.print(f"\nThe alarm fired {time.monotonic() - began:.0f} s after {self.group} was heard worse.")
        console.print(groups_table(released(self.urls.gateway), self.defense).to_rich())
        for line in alert_lines(found):
            console.print(line)

    def _say(self) -> list[Alert]:
        self.gateway.check()
        found = alerts(self.urls.prometheus)
        fares = standing(released(self.urls.gateway), self.group, self.defense)
        console.print(f"{time.monotonic() - self._began:4.0f} s  {fares}")
        said = list(dict.fromkeys(f"{alert.state}: {alert.name}" for alert in found))
        for line in said:
            if line not in self._said:
                console.print(f"        {line}")
        self._said = said
        return found
