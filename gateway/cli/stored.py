"""The records and the register beside them, as `evenvoice serve` would find them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.options import FOLDER
from gateway.settings import Settings, Sync, check_settings

if TYPE_CHECKING:
    import sqlalchemy as sa

WAIT_SECONDS = 30.0
"""What a gateway at work may keep a command waiting."""

_STATE = Path.home() / ".local" / "state" / "evenvoice" / "3000"

state_option: Callable[[Callable[..., None]], Callable[..., None]] = click.option(
    "--state",
    type=FOLDER,
    envvar="EVENVOICE_STATE",
    default=_STATE,
    help="The gateway's folder, whose records these are unless EVENVOICE_RECORDS names others. "
    "[default: ~/.local/state/evenvoice/3000, that of port 3000]",
)


def url_of(state: Path) -> str:
    """The URL of the records: EVENVOICE_RECORDS, or SQLite in the state folder.

    Raises:
        SettingsError: an environment that the server would not start with either.
    """
    from gateway.records import records_url

    options: dict[str, Any] = {"state": state, "audio_directory": None, "audio_consent": False}
    check_settings(**options)
    return records_url(Settings(**options))


@contextmanager
def opened(state: Path, url: str | None = None) -> Iterator[sa.Engine]:
    """
    Args:
        url: of the records; `url_of(state)` where it is None.

    Raises:
        RecordsError: the records can't be opened, or another evenvoice made them.
    """
    from gateway.records.engine import open_engine, parse_url

    engine = open_engine(parse_url(url or url_of(state)), sync=Sync.FULL, wait=WAIT_SECONDS)
    try:
        yield engine
    finally:
        engine.dispose()
