"""How soon after speech there is a decision: `python -m benchmarks.listening BUNDLE MANIFEST`.

BUNDLE and MANIFEST as `make real-speech` leaves them. Test clips with pauses between are played into a PulseAudio
without a sound card, for `--minutes`; `evenvoice listen` records from it and asks `evenvoice serve`, all on this
machine. Times are from the end of the speech, as the detector placed it in blocks of 32 ms, to the decision as `listen`
knew it; what the sound took to the program is not in them. Blocks that were lost are counted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.goals import Goal, finish
from benchmarks.servers import EVENVOICE, evenvoice
from benchmarks.sound_server import RATE, missing, sound_server
from recognizer.audio import AudioFormat, read_clip
from recognizer.manifest import load_manifest

PAUSE = 0.9  # seconds
BACKGROUND = 1e-3  # raw amplitude of the noise between clips
OPENING_SECONDS = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    arguments = parser.parse_args()
    if (reason := missing()) is not None:
        raise SystemExit(reason)
    speech, spoken = played(arguments.manifest, 60 * arguments.minutes)
    with tempfile.TemporaryDirectory() as folder:
        soundfile.write(Path(folder, "speech.wav"), speech, RATE, subtype="PCM_16")
        heard, dropped = listened(arguments.bundle, Path(folder))
    silence = np.array([line["silence_ms"] for line in heard])
    deciding = np.array([line["deciding_ms"] for line in heard])
    results: dict[str, Any] = {
        "minutes": len(speech) / RATE / 60,
        "clips": len(spoken),
        "utterances": len(heard),
        "no_answer": sum(line["decision"] == "error" for line in heard),
        "accepted": sum(line["decision"] == "accept" for line in heard),
        "dropped_blocks": dropped,
        "deciding_ms": percentiles(deciding),
        "end_of_speech_to_decision_ms": percentiles(silence + deciding),
        "silence_ms": percentiles(silence),
    }
    for name, value in results.items():
        print(f"{name}: {value}")
    goals = [
        Goal("end of speech to decision, p50, ms", results["end_of_speech_to_decision_ms"]["p50"], 400, at_least=False),
        Goal("the same without the silence, p50, ms", results["deciding_ms"]["p50"], 60, at_least=False),
        Goal(f"dropped blocks in {results['minutes']:.1f} minutes", dropped, 0, at_least=False),
    ]
    finish("listening", results, goals)


def played(manifest: Path, seconds: float) -> tuple[np.ndarray, list[str]]:
    """Test clips with pauses around them, float32 [samples] at `RATE`, for about so long; and what is said."""
    table = load_manifest(manifest).split("test").table.sample(frac=1, random_state=0)
    rng = np.random.default_rng(0)

    def pause() -> np.ndarray:
        return rng.normal(0, BACKGROUND, round(PAUSE * RATE)).astype(np.float32)

    parts, said, length = [pause()], [], 0
    while length < seconds * RATE:
        row = table.iloc[len(said) % len(table)]
        parts += [read_clip(Path(row["path"]), AudioFormat(RATE)).waveform, pause()]
        length += len(parts[-1]) + len(parts[-2])
        said.append(str(row["command"]))
    return np.concatenate(parts), said


def listened(bundle: Path, folder: Path) -> tuple[list[dict[str, Any]], int]:
    """The lines that `evenvoice listen --json` printed while `speech.wav` was played, and the blocks it lost."""
    (folder / "sound").mkdir()
    with sound_server(folder / "sound") as sound, evenvoice(bundle, folder / "state") as server:
        command = [EVENVOICE, "listen", "--json", "--device", "pulse", "--url", f"http://127.0.0.1:{server.port}"]
        environment = {**os.environ, **sound.environment, "PYTHONFAULTHANDLER": "1"}
        with (folder / "lines").open("wb") as lines, (folder / "notes").open("wb") as notes:
            listening = subprocess.Popen(command, env=environment, stdout=lines, stderr=notes, stdin=subprocess.DEVNULL)
            try:
                _wait_for(listening, folder / "notes")
                sound.play(folder / "speech.wav")
                time.sleep(2 * PAUSE)
            finally:
                _end(listening, folder / "notes")
    heard = [json.loads(line) for line in (folder / "lines").read_text().splitlines()]
    told = (folder / "notes").read_text()
    if (found := re.search(r"; (\d+) blocks dropped", told)) is None:
        raise SystemExit(told)
    return heard, int(found[1])


def _wait_for(listening: subprocess.Popen[bytes], notes: Path) -> None:
    ends = time.monotonic() + OPENING_SECONDS
    while "listening to" not in notes.read_text():
        if listening.poll() is not None or time.monotonic() > ends:
            raise SystemExit(notes.read_text())
        time.sleep(0.1)
    time.sleep(PAUSE)


def _end(listening: subprocess.Popen[bytes], notes: Path) -> None:
    listening.send_signal(signal.SIGINT)
    try:
        listening.wait(30)
    except subprocess.TimeoutExpired:
        listening.send_signal(signal.SIGABRT)  # its threads' places are among the notes then
        listening.wait()
        raise SystemExit(f"it did not end:\n{notes.read_text()}") from None


def percentiles(values: np.ndarray) -> dict[str, float]:
    """Rounded to a tenth."""
    p50, p90, p99 = (round(float(value), 1) for value in np.percentile(values, [50, 90, 99]))
    return {"p50": p50, "p90": p90, "p99": p99, "max": round(float(values.max()), 1)}


if __name__ == "__main__":
    main()
