"""A folder is one run's at a time, whatever becomes of the run."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

import pytest

from recognizer.lock import LOCK, locked


class Refused(Exception):
    """What the tests ask for."""


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "a" / "b", error=Refused):
        raise ZeroDivisionError
    assert list((tmp_path / "a" / "b").iterdir()) == []
    with locked(tmp_path / "a" / "b", error=Refused):
        pass


def test_a_lock_that_was_taken_away_while_we_took_it_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its holder ended between our opening and our locking it; a third run may hold the file of that name by now."""
    flock = fcntl.flock

    def late(file: Any, how: int) -> None:
        (tmp_path / LOCK).unlink()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(Refused, match="another run"), locked(tmp_path, error=Refused):
        pass


def test_who_asks_for_it_is_told_that_another_run_is_at_work_apart_from_other_trouble(tmp_path: Path) -> None:
    class Busy(Exception):
        pass

    with (
        locked(tmp_path, error=Refused),
        pytest.raises(Busy, match="another run"),
        locked(tmp_path, error=Refused, busy=Busy),
    ):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(Refused), locked(tmp_path / "file" / "of", error=Refused, busy=Busy):
        pass


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(Refused, match="file/of can't be written: Not a directory; give another"),
        locked(tmp_path / "file" / "of", error=Refused),
    ):
        pass
