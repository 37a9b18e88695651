"""Which errors are for the user."""

from __future__ import annotations


def is_ours(error: Exception) -> bool:
    """Whether a package raised it on purpose, with words for the user; a fault keeps its traceback."""
    packages = ("recognizer", "training", "monitoring", "gateway")
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in packages
