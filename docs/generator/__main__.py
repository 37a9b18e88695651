"""`python -m docs.generator [FOLDER]`."""

from __future__ import annotations

import sys
from pathlib import Path

from docs.generator.pages import PAGES

FOLDER = Path(__file__).resolve().parents[1] / "reference"


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")
        print(folder / name)


if __name__ == "__main__":
    main()
