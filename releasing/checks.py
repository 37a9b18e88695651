"""What must agree before a release: versions, the changelog, kept files, the tree, what a wheel holds."""

from __future__ import annotations

import re
import subprocess
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

from releasing import kept

ROOT = Path(__file__).parent.parent
PACKAGES = ("recognizer", "training", "monitoring", "gateway")
UNRELEASED = "Unreleased"
_HEADING = re.compile(r"^## \[([^\]]+)\](?: - (\S+))?$", re.MULTILINE)
_IMAGE = re.compile(r"""(?:\bevenvoice:|newTag: ")(\d+\.\d+\.\d+)""")
_NAMING_IMAGES = (".yaml", ".yml", ".env", ".md")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def project_version(root: Path = ROOT) -> str:
    """Of pyproject.toml."""
    found: str = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return found


def changelog_faults(text: str, version: str) -> list[str]:
    """Why the changelog is not that of a release of this version; empty where it is.

    Wanted is an empty `## [Unreleased]`, and under it `## [VERSION] - YYYY-MM-DD` with something in it.
    """
    headings = list(_HEADING.finditer(text))
    sections = {
        heading[1]: text[heading.end() : following.start() if following else len(text)].strip()
        for heading, following in zip(headings, [*headings[1:], None], strict=False)
    }
    names = [heading[1] for heading in headings]
    if names[:2] != [UNRELEASED, version]:
        return [
            f"CHANGELOG.md begins with {', '.join(names[:2]) or 'no heading'}; "
            f"wanted are ## [{UNRELEASED}] and ## [{version}] - YYYY-MM-DD under it"
        ]
    faults = []
    if sections[UNRELEASED]:
        faults.append(f"CHANGELOG.md has entries under [{UNRELEASED}]; they belong under [{version}]")
    if not sections[version]:
        faults.append(f"CHANGELOG.md has nothing under [{version}]")
    if not _DAY.fullmatch(headings[1][2] or ""):
        faults.append(f"CHANGELOG.md says [{version}] - {headings[1][2]}; a day is YYYY-MM-DD")
    return faults


def kept_faults(version: str, folder: Path = kept.KEPT) -> list[str]:
    """Which files of this version are not kept."""
    names = (kept.API, kept.STREAM, kept.INTERFACE, kept.BUNDLE, kept.DECISIONS, kept.RECORDS, kept.POLICY, kept.AUDIT)
    missing = [name for name in names if not (folder / version / name).exists()]
    return [f"tests/compatibility/{version} has no {', '.join(missing)}: python -m releasing.freeze"] if missing else []


def tree_faults(root: Path = ROOT) -> list[str]:
    """What git has not committed."""
    done = subprocess.run(
        ["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=False
    )  # a folder without git, such as an unpacked sdist, is no place to release from
    if done.returncode:
        return [f"git can't say whether the tree is clean: {done.stderr.strip()}"]
    changed = done.stdout.splitlines()
    return [f"{len(changed)} files are not committed, {changed[0][3:]} among them"] if changed else []


def image_faults(version: str, root: Path = ROOT) -> list[str]:
    """Where `deploy/` and the documentation name the image of another version."""
    files = [*(root / "deploy").rglob("*"), *(root / "docs").glob("*.md"), root / "README.md"]
    return [
        f"{path.relative_to(root)} names the image {found}"
        for path in sorted(files)
        if path.suffix in _NAMING_IMAGES
        for found in _IMAGE.findall(path.read_text(encoding="utf-8"))
        if found != version
    ]


def is_tagged(version: str, root: Path = ROOT) -> bool:
    """Whether git has the tag of a release, which is the last thing that one gets."""
    listed = subprocess.run(
        ["git", "tag", "--list", f"v{version}"], cwd=root, capture_output=True, text=True, check=False
    )
    return bool(listed.stdout.strip())


def wheel_faults(wheel: Path, tracked: Sequence[str], licences: Sequence[str] = ("LICENSE",)) -> list[str]:
    """What a wheel lacks of the packages' files, and what it has besides.

    Args:
        tracked: the packages' files, relative to the root, as git lists them.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    held = {name for name in names if ".dist-info/" not in name}
    faults = [f"the wheel has no {name}" for name in sorted(set(tracked) - held)]
    faults += [f"the wheel has {name}, which git does not" for name in sorted(held - set(tracked))]
    faults += [f"the wheel has no {name}" for name in licences if not any(n.endswith(f"/{name}") for n in names)]
    return faults


def tracked_files(root: Path = ROOT) -> list[str]:
    """The packages' files, as git lists them."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", *PACKAGES], cwd=root, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()
