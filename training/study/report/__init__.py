"""The report on a study: tables, correlations and figures of the paper, and what it leaves open, as one page."""

from training.study.report.write import write_report

__all__ = ["write_report"]
