"""The folder in which a page's commands are run, and the programs that they find there.

It holds what pages speak of: a bundle, a manifest with its clips, some clips by name, a register with the speaker
`s-17`, and, laid out as `make demo` leaves it, `demo/`. `evenvoice` and `python` are forks of one process
(`fork_server.py`), so that a command costs no imports. Two things differ from a reader's machine, since they would take
minutes, or a port: trainings have few epochs and audits attack nothing; and the gateway that pages ask at
127.0.0.1:3000 has another port.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import soundfile
from doc_blocks import ROOT, Block

from recognizer.manifest import load_manifest

HERE = Path(__file__).parent
READY_SECONDS = 120
BLOCK_SECONDS = 120
PORT_OF_PAGES = "127.0.0.1:3000"
_WRAPPER = """\
#!/bin/sh
case "$1 $2" in
"serve "*) exec {evenvoice} "$@" --port "$EVENVOICE_DOCS_PORT" ;;
"audit run") set -- "$@" --attacked-clips 0 ;;
"train "*) set -- "$@" --epochs 2 ;;
esac
{python} -SEs {client} evenvoice "$@"
code=$?
case "$1 $code" in "audit 1" | "audit 2") exit 0 ;; esac  # verdicts
exit $code
"""
_PYTHON = """\
#!/bin/sh
case "$1" in examples/robot_arm.py) set -- "$@" --url "$EVENVOICE_URL" ;; esac
exec {python} -SEs {client} python "$@"
"""
_CHANGES_THE_MACHINE = ("apt", "apt-get", "docker", "helm", "kubectl", "pip", "sudo", "systemctl")
_REFUSAL = """\
#!/bin/sh
echo "$(basename "$0") changes the machine: mark the block as what it needs" >&2
exit 1
"""
# A block of Bash goes on with the variables of the one before, as in the terminal of who reads the page.
_GO_ON, _LEAVE = "[ ! -e .variables ] || . ./.variables; set -a", "export -p > .variables"


@dataclass
class Workspace:
    """A folder of one page, and where its gateway listens."""

    folder: Path
    programs: Path
    socket: Path
    port: int
    serving: list[subprocess.Popen[str]] = field(default_factory=list)

    def run(self, block: Block) -> subprocess.CompletedProcess[str]:
        """Run a block to its end; its output and errors are one text."""
        if block.language == "bash":
            command = ["bash", "-euo", "pipefail", "-c", self._here(block)]
        else:
            script = self.folder / "block.py"
            script.write_text(self._here(block))
            command = [str(self.programs / "python"), str(script)]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=BLOCK_SECONDS,
        )

    def start(self, block: Block) -> None:
        """Start a block that serves, and wait until it does."""
        self.serve(["bash", "-euo", "pipefail", "-c", self._here(block)])

    def serve(self, command: Sequence[str]) -> None:
        """Start a gateway here and wait until it is ready.

        Raises:
            AssertionError: it ended, or is not ready in time; with what it said.
        """
        log = self.folder / "serving.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self.serving.append(process)
        ends = time.monotonic() + READY_SECONDS
        ask = ["curl", "--silent", "--fail", "--max-time", "1", f"http://127.0.0.1:{self.port}/readyz"]
        while subprocess.run(ask, capture_output=True).returncode != 0:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < ends, log.read_text()
            time.sleep(0.1)

    def close(self) -> None:
        """End what serves, the shell it was started from included."""
        for process in self.serving:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)

    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("EVENVOICE_", "BENTOML", "PROMETHEUS"))}
        return inherited | {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
            "PYTHONPATH": str(ROOT),
            "EVENVOICE_STATE": str(self.folder / "state"),
            "EVENVOICE_URL": f"http://127.0.0.1:{self.port}",
            "EVENVOICE_DOCS_PORT": str(self.port),
            "EVENVOICE_DOCS_SOCKET": str(self.socket),
        }

    def _here(self, block: Block) -> str:
        """The block as it is run here: what is given before it, and this gateway's port."""
        code = "\n".join((*block.said("given"), block.code))
        if block.language == "bash":
            code = "\n".join((_GO_ON, code, *([] if block.said("serves") else [_LEAVE])))
        return code.replace(PORT_OF_PAGES, f"127.0.0.1:{self.port}")


def write_programs(folder: Path) -> None:
    """`evenvoice` and `python` as pages call them; what would change the machine is refused."""
    folder.mkdir()
    client = HERE / "forked.py"
    evenvoice = Path(sys.executable).with_name("evenvoice")
    programs = {
        "evenvoice": _WRAPPER.format(evenvoice=evenvoice, python=sys.executable, client=client),
        "python": _PYTHON.format(python=sys.executable, client=client),
        **dict.fromkeys(_CHANGES_THE_MACHINE, _REFUSAL),
    }
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def write_template(folder: Path, *, bundle: Path, manifest: Path, programs: Path) -> None:
    """What every page's folder begins with."""
    folder.mkdir()
    (folder / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(programs)
    (folder / "examples").symlink_to(ROOT / "examples")
    shutil.copytree(bundle, folder / "bundle")
    shutil.copytree(manifest.parent, folder / "own")
    (folder / "clips").mkdir()
    _write_clips(folder, manifest)
    people = load_manifest(manifest).table.drop_duplicates("speaker")[["speaker", "accent", "gender"]]
    people.to_csv(folder / "people.csv", index=False)
    with (folder / "people.csv").open("a") as file:
        file.write("s-17,north,female\n")
    shutil.copyfile(folder / "people.csv", folder / "speakers.csv")


def write_demo(folder: Path, manifest: Path) -> None:
    """`demo/` as the demo leaves it, of tones: bundle, corpus, register; each voice's `left` is `seven_0`, too."""
    demo = folder / "demo"
    audio = demo / "corpus" / "audio"
    demo.mkdir()
    (demo / "bundle").symlink_to(folder / "bundle")
    table = pd.read_csv(manifest)
    for speaker in table["speaker"].unique():
        shutil.copytree(manifest.parent / speaker, audio / speaker)
        shutil.copyfile(audio / speaker / "left_0.wav", audio / speaker / "seven_0.wav")
    table.assign(path="audio/" + table["path"]).to_csv(demo / "corpus" / "manifest.csv", index=False)
    test = table[table["split"] == "test"].drop_duplicates("speaker")
    test[["speaker", "accent", "gender"]].to_csv(demo / "speakers.csv", index=False)


def _write_clips(folder: Path, manifest: Path) -> None:
    """`left`, `right` and noise of a speaker, in every format that pages send."""
    speaker = next(path for path in sorted(manifest.parent.iterdir()) if path.is_dir())
    for command in ("left", "right"):
        shutil.copyfile(speaker / f"{command}_0.wav", folder / f"{command}.wav")
    shutil.copyfile(speaker / "unknown_0.wav", folder / "noise.wav")
    samples, rate = soundfile.read(folder / "left.wav", dtype="int16")
    soundfile.write(folder / "left.flac", samples, rate)
    (folder / "left.raw").write_bytes(samples.astype(">i2").tobytes())  # RFC 2586 has big-endian samples


def dedented(text: str) -> str:
    """Output as a page shows it: no spaces at the ends of lines, none around it."""
    return "\n".join(line.rstrip() for line in textwrap.dedent(text).strip().splitlines())
