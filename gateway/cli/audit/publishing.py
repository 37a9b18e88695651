"""Audits handed to Prometheus: by a file for node_exporter's textfile collector, and by a Pushgateway."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import click
from prometheus_client import CollectorRegistry, push_to_gateway, pushadd_to_gateway, write_to_textfile
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from gateway.cli.options import FILE
from gateway.cli.progress import notes
from monitoring.audit import AuditReport
from monitoring.audit_metrics import DURATION, EXIT_CODE, JOB, AuditCollector, FailureCollector

_SUFFIX = ".prom"
_WAIT_SECONDS = 30.0


class ExportFailed(RuntimeError):
    """The figures could not be written or pushed; the message says where to."""


def _prom_file(_: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    if value is None or value.suffix == _SUFFIX:
        return value
    raise click.BadParameter(f"{value} does not end in {_SUFFIX}, and the collector reads no other", param=parameter)


def _gateway_url(_: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.BadParameter("it is no URL; such as http://127.0.0.1:9091 is accepted", param=parameter)
    if parts.username or parts.password:
        raise click.BadParameter("a password in a URL ends up in logs; use a proxy or TLS client", param=parameter)
    return value


def export_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options `--textfile`, `--pushgateway` and `--corpus`, for `publish`."""
    options = (
        click.option(
            "--textfile",
            type=FILE,
            callback=_prom_file,
            help="A file NAME.prom for the textfile collector of node_exporter; one a corpus.",
        ),
        click.option(
            "--pushgateway",
            envvar="EVENVOICE_PUSHGATEWAY",
            callback=_gateway_url,
            help="URL of a Pushgateway; what it has of this corpus is replaced.",
        ),
        click.option("--corpus", help="The corpus' name in the labels. [default: the manifest's]"),
    )
    for option in reversed(options):
        command = option(command)
    return command


def publish(report: AuditReport, *, corpus: str, textfile: Path | None, pushgateway: str | None) -> None:
    """Hand an audit to Prometheus; what there was of this corpus is replaced, so that no group outlives its audit.

    Args:
        corpus: the label, and with the job what a push replaces.
        textfile: ends in .prom; replaced in one step.

    Raises:
        ExportFailed: a file that can't be written, a Pushgateway that can't be reached or refuses.
    """
    audit = AuditCollector(corpus, report)
    if textfile is not None:
        _write(textfile, audit)
    if pushgateway is not None:
        _push(push_to_gateway, pushgateway, corpus, audit)  # PUT


def publish_failure(*, corpus: str, seconds: float, textfile: Path | None, pushgateway: str | None) -> None:
    """Hand over that an audit failed, and after how long; the figures of the last one stay, and so does their age.

    What can't be handed over is said on standard error: it must not hide why the audit failed.
    """
    failure = FailureCollector(corpus, seconds=seconds)
    try:
        if textfile is not None:
            _write(textfile, failure, _Kept(textfile))
        if pushgateway is not None:
            _push(pushadd_to_gateway, pushgateway, corpus, failure)  # POST replaces only the metrics that it names
    except ExportFailed as error:
        notes.print(str(error))


class _Kept(Collector):
    """What a textfile has of the last audit that did not fail."""

    def __init__(self, textfile: Path) -> None:
        self._textfile = textfile

    def collect(self) -> Iterator[Metric]:
        if self._textfile.exists():
            for family in text_string_to_metric_families(self._textfile.read_text(encoding="utf-8")):
                if family.name not in (EXIT_CODE, DURATION):
                    yield family


def _write(textfile: Path, *collectors: Collector) -> None:
    try:
        textfile.parent.mkdir(parents=True, exist_ok=True)
        write_to_textfile(str(textfile), _registry(*collectors))
    except (OSError, ValueError) as error:
        raise ExportFailed(f"{textfile} can't be written: {error}") from None


def _push(push: Callable[..., None], gateway: str, corpus: str, collector: Collector) -> None:
    try:
        push(gateway, JOB, _registry(collector), {"corpus": corpus}, _WAIT_SECONDS)
    except (OSError, HTTPException, ValueError) as error:
        raise ExportFailed(f"the Pushgateway at {gateway} did not take the audit: {error}") from None


def _registry(*collectors: Collector) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        registry.register(collector)
    return registry
