"""A bento with a bundle inside: `python -m releasing.bento BUNDLE`."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from recognizer.bundle import BundleError, read_manifest, version_of

ROOT = Path(__file__).parent.parent
_TAG = "__tag__:"


def stage(bundle: Path, folder: Path) -> None:
    """Put what a bento is packed from into one folder: bentofile.yaml, what it includes, its Dockerfile, the bundle.

    Args:
        folder: a new one.

    Raises:
        BundleError: a damaged bundle.
    """
    manifest = read_manifest(bundle)
    config = yaml.safe_load((ROOT / "bentofile.yaml").read_text(encoding="utf-8"))
    config["labels"] |= {"bundle": manifest.name, "bundle_version": version_of(bundle).removeprefix("sha256:")}
    folder.mkdir(parents=True)
    (folder / "bentofile.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    included = {Path(name.strip("/").removesuffix("/**")) for name in config["include"]} - {Path("bundle")}
    for name in (*included, Path(config["docker"]["dockerfile_template"])):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, folder / name)
    shutil.copytree(bundle, folder / "bundle")
    for path in (folder / "bundle", *(folder / "bundle").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the image's user owns none of them


def build(bundle: Path) -> str:
    """Pack the service with a bundle into BentoML's store (`BENTOML_HOME`).

    Returns:
        The bento's tag, `evenvoice:...`.

    Raises:
        BundleError: a damaged bundle.
        subprocess.CalledProcessError: BentoML can't pack it, for the reason that it printed.
    """
    with tempfile.TemporaryDirectory(prefix="evenvoice-bento-") as folder:
        staged = Path(folder) / "staged"
        stage(bundle, staged)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("EVENVOICE_")}
        built = subprocess.run(
            [sys.executable, "-m", "bentoml", "build", "--output", "tag"],
            cwd=staged,
            env={**environment, "BENTOML_DO_NOT_TRACK": "true"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return next(line.removeprefix(_TAG) for line in built.stdout.splitlines() if line.startswith(_TAG))


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m releasing.bento", description=__doc__)
    arguments.add_argument("bundle", type=Path, help="Folder of the bundle that goes inside.")
    try:
        print(build(arguments.parse_args().bundle))
    except BundleError as error:
        sys.exit(f"evenvoice: {error}")


if __name__ == "__main__":
    main()
