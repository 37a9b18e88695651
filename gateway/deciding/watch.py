"""Another bundle in the folder that is served: loaded beside the old one, tried, and then served in its place.

Replace the bundle by a rename, such as of a symbolic link: a folder that is being written has no version yet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

from gateway.deciding.engine import Engine
from gateway.gateway import Gateway
from recognizer.bundle import MANIFEST

logger = logging.getLogger(__name__)

Sight = tuple[str, int, int, int] | None
"""What tells one bundle's folder from another at a glance; None where there is none."""


class BundleWatch:
    """Looks at the folder every so many seconds, in a thread of its own, until it is closed."""

    def __init__(
        self, gateway: Gateway, folder: Path, *, load: Callable[[], Engine], seconds: float, served: Sight
    ) -> None:
        """
        Args:
            folder: of the bundle, perhaps a symbolic link.
            load: the folder's bundle, ready to serve; raises where it is not to be served.
            seconds: from one look to the next.
            served: what was there before the bundle that is served was loaded; what came meanwhile is another.
        """
        self._gateway, self._folder, self._load, self._seconds = gateway, folder, load, seconds
        self._served = served
        self._closing = Event()
        self._thread = Thread(target=self._run, name="bundle-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Return once no bundle is being loaded."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        before = self._served
        while not self._closing.wait(self._seconds):
            seen = sight_of(self._folder)
            if seen not in (None, self._served) and seen == before:  # and nobody is at it any more
                self._served = seen  # served or refused: it is looked at once
                self._swap()
            before = seen

    def _swap(self) -> None:
        try:
            engine = self._load()
            if engine.recognizer.version == self._gateway.recognizer.version:
                engine.close()
                return
            self._gateway.swap(engine)
        except Exception as error:  # whatever a bundle can break: the old one serves on
            logger.error("the new bundle is refused, the old one serves on: %s", error)
            return
        logger.info("serving the bundle %s", engine.recognizer.version)


def sight_of(folder: Path) -> Sight:
    """See `Sight`."""
    try:
        where = folder.resolve(strict=True)
        found = (where / MANIFEST).stat()
    except (OSError, RuntimeError):  # the latter of a link to itself
        return None
    return str(where), found.st_ino, found.st_mtime_ns, found.st_size
