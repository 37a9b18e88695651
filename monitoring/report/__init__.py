"""An audit as something to read: tables for a terminal, Markdown, a page to hand over, and a model card."""

from monitoring.report.page import PAGE_FILE, write_html
from monitoring.report.tables import SHORT, Grid, overview, short, to_markdown

__all__ = ["PAGE_FILE", "SHORT", "Grid", "overview", "short", "to_markdown", "write_html"]
