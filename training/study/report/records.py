"""A study's files, read: records and tables, or an error that names the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pandas as pd
from pydantic import BaseModel, ValidationError

from training.study.folder import StudyError

Record = TypeVar("Record", bound=BaseModel)


def read_record(path: Path, kind: type[Record]) -> Record:
    """A JSON file.

    Raises:
        StudyError: it is missing or damaged.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise StudyError(f"{path} is missing or damaged; remove its folder and run the study again: {error}") from error


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A parquet file.

    Raises:
        StudyError: it is missing, damaged or without one of the columns.
    """
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} is missing or damaged; remove it and run the study again: {error}") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise StudyError(f"{path} lacks the columns {missing}; {list(columns)} are needed: remove it and run again")
    return table


def read_optional(path: Path, columns: Sequence[str]) -> pd.DataFrame | None:
    """The same, and None where there is no such file (yet)."""
    return read_table(path, columns) if path.is_file() else None
