"""What a report is made of: sections of text, tables and figures, and how a number is written in them.

A table is a data frame: the page shows it rounded, the CSV file of the same name holds it in full.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real

import numpy as np
import pandas as pd

NOTHING = "–"
"""Shown where a table has no value."""

_HEADERS = {
    "auc_acc": "AUC_acc",
    "auc_fpr": "AUC_FPR",
    "adversarial_eps": "AT budget",
    "noise_sigma": "noise aug.",
    "clean_accuracy": "clean acc.",
    "mean_auc_acc": "mean AUC_acc",
    "sd_auc_acc": "sd AUC_acc",
    "pearson_p": "p (Pearson)",
    "spearman_p": "p (Spearman)",
    "snr_db": "SNR, dB",
}
_SIGNIFICANT = {
    "eps": 4,
    "adversarial_eps": 4,
    "noise_sigma": 4,
    "seconds_per_clip": 2,
    "pearson_p": 2,
    "spearman_p": 2,
}
"""Significant digits of columns whose numbers span decades."""
_DECIMALS = {"auc_acc": 6, "auc_fpr": 4, "clean_accuracy": 4, "mean_auc_acc": 4, "sd_auc_acc": 4, "snr_db": 1, "sd": 1}
_DECIMALS |= {"training_seconds": 0, "network_accuracy": 4}
_USUAL_DECIMALS = 3


@dataclass(frozen=True)
class Table:
    """A table of the page and the CSV file `{name}.csv`."""

    name: str
    caption: str
    """What it shows, with n."""
    frame: pd.DataFrame
    is_folded: bool = False
    """Shown closed, to be opened by a click: the numbers behind a figure."""
    decimals: Mapping[str, int] = field(default_factory=dict)
    """Column -> decimals, where the usual ones won't do."""

    def cells(self) -> list[list[str]]:
        """The rows as the page shows them."""
        return [
            [shown(value, column, self.decimals) for column, value in zip(self.frame.columns, row, strict=True)]
            for row in self.frame.itertuples(index=False, name=None)
        ]

    def are_numbers(self) -> list[bool]:
        """Whether each column holds numbers, and perhaps words in place of some."""
        return [
            any(isinstance(value, Real) and not isinstance(value, bool | np.bool_) for value in self.frame[column])
            for column in self.frame.columns
        ]

    def headers(self) -> list[str]:
        return [header(column) for column in self.frame.columns]


@dataclass(frozen=True)
class Picture:
    """A figure of the page and the file `{name}.png`."""

    name: str
    caption: str
    """What it shows, with n."""
    alt: str
    """What a reader who can't see it needs to know."""
    png: bytes


@dataclass(frozen=True)
class Section:
    """A heading, its text, and what stands under it."""

    title: str
    paragraphs: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    """A list after the text"""
    warnings: tuple[str, ...] = ()
    """Shown before everything, as a failure is"""
    exhibits: tuple[Table | Picture, ...] = ()
    level: int = 3


def header(column: Hashable) -> str:
    """A column's name as the page shows it."""
    return _HEADERS.get(str(column), str(column).replace("_", " "))


def shown(value: object, column: Hashable, decimals: Mapping[str, int] | None = None) -> str:
    """A cell as the page shows it: `NOTHING` for none, integers as they are, else the column's decimals."""
    if value is None or value is pd.NA or (isinstance(value, Real) and np.isnan(float(value))):
        return NOTHING
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, str | Integral):
        return str(value) if value != "" else NOTHING
    if not isinstance(value, Real):
        raise TypeError(f"a cell of {column!r} is a {type(value).__name__}; text and numbers are accepted")
    name, number = str(column), float(value)
    if name in _SIGNIFICANT:
        return f"{number:.{_SIGNIFICANT[name]}g}"
    places = {**_DECIMALS, **(decimals or {})}.get(name, _USUAL_DECIMALS)
    return f"{number:.{places}f}".replace("-", "−") if np.isfinite(number) else str(number)
