"""A bundle that travels to machines that do not have its folder."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from recognizer.bundle import load_bundle
from recognizer.recognizer import Recognizer


@dataclass(frozen=True)
class Parcel:
    """The files of a bundle."""

    files: tuple[tuple[str, bytes], ...]
    """Name within the folder -> bytes."""

    @classmethod
    def of(cls, bundle: Path) -> Self:
        """
        Raises:
            OSError: a file can't be read.
        """
        files = sorted(path for path in bundle.rglob("*") if path.is_file())
        return cls(tuple((str(path.relative_to(bundle)), path.read_bytes()) for path in files))

    def load(self, *, device: str = "cpu") -> Recognizer:
        """The recogniser.

        Raises:
            BundleError: see `load_bundle`.
        """
        with tempfile.TemporaryDirectory(prefix="evenvoice-") as folder:
            for name, data in self.files:
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            return load_bundle(Path(folder), device=device)
