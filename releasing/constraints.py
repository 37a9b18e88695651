"""The packages that images install, each pinned to the version here: `python -m releasing.constraints > FILE`.

Those that the project needs, its extra `postgres`, and all that these need in turn, on the system that runs this; with
the versions of its environment, which are those that the tests ran with.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
EXTRAS = ("postgres",)
HEAD = "# python -m releasing.constraints > deploy/image/constraints.txt\n"


def needed() -> list[Requirement]:
    """What the project asks for in an image."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for e in EXTRAS for line in project["optional-dependencies"][e])]
    return [Requirement(line) for line in lines]


def pinned() -> dict[str, str]:
    """Name -> version of each package that these need here, and themselves.

    Of a version built for one kind of device (`2.14.1+cpu`) the part before the sign: any such build will do.

    Raises:
        ValueError: a package that is needed is not installed.
    """
    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = needed()
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            here = distribution(name)
        except PackageNotFoundError:
            raise ValueError(f"{name} is needed and not installed here; install '.[postgres]' first") from None
        found[name] = Version(here.version).public
        for below in map(Requirement, here.requires or ()):
            if below.marker is None or any(below.marker.evaluate({"extra": extra}) for extra in extras or {""}):
                waiting.append(below)
    return dict(sorted(found.items()))


def main() -> None:
    print(HEAD, *(f"{name}=={version}\n" for name, version in pinned().items()), sep="", end="")


if __name__ == "__main__":
    main()
