"""What a person agrees to before anything is recorded."""

from __future__ import annotations

from pathlib import Path

TEXT = """\
Your voice will be recorded: the words that are shown, and nothing between them.

- The recordings and what you declare of yourself are kept under an id, not under your name.
- They are used to measure whether a speech recogniser turns some people away more often than others, and to make it
  fairer.
- You may leave out any of the questions about yourself, skip any word, and stop at any time.
- You may have everything that was recorded of you erased, now or later, without a reason: ask whoever gave you this.
"""
"""Where a site has no text of its own."""

AGREED = ("yes", "y")


class ConsentError(ValueError):
    """A text that nobody can agree to."""


def read_text(path: Path) -> str:
    """A site's own text.

    Raises:
        ConsentError: it can't be read, or says nothing.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConsentError(f"{path} can't be read as a consent in UTF-8: {error}") from None
    if not text.strip():
        raise ConsentError(f"{path} is empty; write down what the person is to agree to")
    return text
