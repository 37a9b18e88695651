"""Everything of a release but handing it out: `python -m releasing.dry_run` (`make release`).

Nothing is uploaded, tagged or committed. What it makes lies in `dist/`: the wheel, the sdist, and the bill of materials
(CycloneDX) of an environment into which the wheel was installed at the pinned versions. It goes on after a fault, and
ends with exit code 1 where there was one.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from releasing import checks, installed, kept
from releasing.checks import ROOT
from releasing.constraints import needed, pinned

DIST = ROOT / "dist"
CONSTRAINTS = ROOT / "deploy" / "image" / "constraints.txt"
Step = Callable[[], list[str]]


def constraints_faults() -> list[str]:
    """Which pinned versions are not those that the project allows, and that this environment has."""
    lines = [line for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    versions = dict(line.split("==") for line in lines)
    here = pinned()
    faults = [
        f"the constraints pin {r.name} {versions.get(r.name)}, the project wants {r.specifier}"
        for r in needed()
        if not r.specifier.contains(versions.get(r.name, "0"))
    ]
    if versions != here:
        other = sorted(name for name in versions.keys() | here if versions.get(name) != here.get(name))
        faults.append(
            f"the constraints are not of the environment that the tests run in ({', '.join(other[:5])}): "
            "python -m releasing.constraints > deploy/image/constraints.txt"
        )
    return faults


def lint_faults() -> list[str]:
    """Whether style and types hold."""
    done = subprocess.run(["make", "--no-print-directory", "lint"], cwd=ROOT, check=False)
    return ["make lint found faults"] if done.returncode else []


def built(version: str) -> list[str]:
    """Build the wheel and the sdist, and look into the wheel."""
    shutil.rmtree(DIST, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "build", "--outdir", DIST, ROOT], stdout=subprocess.DEVNULL, check=True)
    (wheel,) = DIST.glob(f"evenvoice-{version}-*.whl")
    if not (DIST / f"evenvoice-{version}.tar.gz").is_file():
        return ["there is no sdist"]
    return checks.wheel_faults(wheel, checks.tracked_files())


def tried(version: str) -> list[str]:
    """Install the wheel afresh, try it, and write down what it brought."""
    (wheel,) = DIST.glob(f"evenvoice-{version}-*.whl")
    with tempfile.TemporaryDirectory(prefix="evenvoice-release-") as folder:
        environment = Path(folder) / "environment"
        installed.install(wheel, environment, constraints=CONSTRAINTS)
        bundle, state = kept.KEPT / version / kept.BUNDLE, Path(folder) / "state"
        faults = installed.faults_of(environment, bundle=bundle, version=version, state=state)
        bill = DIST / f"evenvoice-{version}.cdx.json"
        command = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", ROOT / "pyproject.toml"]
        command += ["--output-reproducible", "--output-file", bill, environment / "bin" / "python"]
        subprocess.run([str(word) for word in command], check=True)
    return faults


def steps(version: str, *, quick: bool) -> dict[str, Step]:
    """What is done, in order."""
    changelog = ROOT / "CHANGELOG.md"
    found: dict[str, Step] = {
        "changelog": lambda: checks.changelog_faults(changelog.read_text(encoding="utf-8"), version),
        "kept files": lambda: checks.kept_faults(version),
        "image": lambda: checks.image_faults(version),
        "constraints": constraints_faults,
        "clean tree": checks.tree_faults,
    }
    if not quick:
        found |= {
            "style and types": lint_faults,
            "wheel and sdist": lambda: built(version),
            "fresh environment": lambda: tried(version),
        }
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m releasing.dry_run", description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="Only what takes no time: build and install nothing.")
    version, bad = checks.project_version(), 0
    print(f"evenvoice {version}: a release, without handing it out")
    for name, step in steps(version, quick=arguments.parse_args().quick).items():
        started = time.monotonic()
        try:
            faults = step()
        except (subprocess.CalledProcessError, ValueError, OSError) as error:
            faults = [str(error)]
        bad += len(faults)
        print(f"{'FAULT' if faults else 'ok':5}  {name} ({time.monotonic() - started:.0f} s)", flush=True)
        for fault in faults:
            print(f"       {fault}", flush=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
