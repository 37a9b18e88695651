"""People who speak to a gateway all the time, of whom one group is heard worse from some moment on."""

from __future__ import annotations

import io
import itertools
import threading
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from gateway.client import Client
from recognizer.decision import UNKNOWN
from recognizer.groups import UNDECLARED
from recognizer.manifest import Manifest

CLIPS_A_SPEAKER = 6
_CLIENTS = 3
_MUFFLED_HZ, _NOISE, _FAINT = 500, 2.0, 0.3
"""Nothing above; noise of so many times the muffled sound's amplitude; then all of it so faint."""


class NobodyToHear(ValueError):
    """No group that could be heard worse than the rest."""


@dataclass(frozen=True)
class Group:
    """A value of an attribute."""

    attribute: str
    name: str

    def __str__(self) -> str:
        return f"{self.attribute} {self.name}"


@dataclass(frozen=True)
class Take:
    """One command of one speaker, as files' bytes."""

    speaker: str
    command: str
    is_of_group: bool
    clear: bytes
    worse: bytes


def worsened(samples: NDArray[np.float64], rate: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """As through a wall beside a machine: muffled, faint, and under noise of four times its power. [samples]"""
    muffled = sosfilt(butter(4, _MUFFLED_HZ, fs=rate, output="sos"), samples)
    noise = rng.normal(0, _NOISE * np.sqrt((muffled**2).mean()), len(samples))
    return np.asarray(_FAINT * (muffled + noise))


def group_to_worsen(manifest: Manifest, vocabulary: Mapping[str, Sequence[str]]) -> Group:
    """The group on which evidence comes soonest: with the most speakers in it and, as many count, in the rest.

    Args:
        vocabulary: attribute -> the groups that the bundle knows.

    Raises:
        NobodyToHear: no attribute has two groups.
    """
    people = manifest.table.drop_duplicates("speaker")
    sizes: dict[Group, int] = {}
    for attribute in (a for a in manifest.attributes if a in vocabulary):
        declared = people[attribute][people[attribute].isin(list(vocabulary[attribute]))]
        for name, speakers in declared.value_counts(sort=False).sort_index().items():
            if name != UNDECLARED and speakers < len(declared):
                sizes[Group(attribute, str(name))] = min(int(speakers), len(declared) - int(speakers))
    if not sizes:
        raise NobodyToHear("the manifest has no attribute of the bundle's with speakers in two groups")
    return max(sizes, key=lambda group: sizes[group])


def takes_of(manifest: Manifest, group: Group, *, seed: int) -> list[Take]:
    """Some commands of every speaker, in an order by chance.

    Raises:
        NobodyToHear: nobody is in the group, or everybody.
    """
    rng = np.random.default_rng(seed)
    table = manifest.table[manifest.table["command"] != UNKNOWN]
    if group.attribute not in manifest.attributes or not 0 < (table[group.attribute] == group.name).mean() < 1:
        raise NobodyToHear(f"the manifest has nobody of {group}, or nobody else; give another --worse")
    rows = table.sample(frac=1, random_state=seed).groupby("speaker").head(CLIPS_A_SPEAKER)
    return [_take(row, group, rng) for row in rows.to_dict("records")]


def _take(row: Mapping[Hashable, Any], group: Group, rng: np.random.Generator) -> Take:
    data = Path(str(row["path"])).read_bytes()
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float64")
    file = io.BytesIO()
    worse = worsened(samples if samples.ndim == 1 else samples.mean(axis=1), rate, rng)
    soundfile.write(file, worse, rate, format="WAV", subtype="PCM_16")
    is_of_group = row[group.attribute] == group.name
    return Take(str(row["speaker"]), str(row["command"]), is_of_group, data, file.getvalue())


class Crowd:
    """Everybody in turn, at a steady pace, from several robots at once."""

    def __init__(self, url: str, takes: Sequence[Take], *, defense: str, commands_a_second: float) -> None:
        self.is_worse = False
        """Whether the group's clips are sent as they are worsened."""
        self.unanswered = 0
        self._url = url
        self._defense = defense
        self._turns = itertools.cycle(takes)
        self._pause = 1 / commands_a_second
        self._next = time.monotonic()
        self._lock, self._over = threading.Lock(), threading.Event()

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Speak until the block ends."""
        with Client(self._url, timeout=10.0) as client, ThreadPoolExecutor(_CLIENTS) as pool:
            robots = [pool.submit(self._speak, client) for _ in range(_CLIENTS)]
            try:
                yield
            finally:
                self._over.set()
                for robot in robots:
                    robot.result()

    def _speak(self, client: Client) -> None:
        while not self._over.is_set():
            with self._lock:
                take, now = next(self._turns), time.monotonic()
                self._next = max(self._next + self._pause, now)
                wait = self._next - now
            self._over.wait(wait)
            clip = take.worse if self.is_worse and take.is_of_group else take.clear
            answer = client.decide(clip, speaker=take.speaker, defense=self._defense)
            if answer.response is None:
                self.unanswered += 1
            else:
                client.label(answer.response.request_id, take.command)
