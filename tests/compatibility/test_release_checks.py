"""What `make release` looks at before it builds: each check finds its fault, and passes what is right."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from releasing import checks, dry_run, installed, kept

RELEASED = """# Changelog

## [Unreleased]

## [1.2.0] - 2026-12-01

### Added
- Something.

## [1.1.0] - 2026-06-01

### Added
- Earlier.
"""


def test_a_changelog_of_this_release_has_no_fault() -> None:
    assert checks.changelog_faults(RELEASED, "1.2.0") == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (RELEASED.replace("## [1.2.0] - 2026-12-01\n", ""), "begins with Unreleased, 1.1.0; wanted are"),
        (RELEASED.replace("[Unreleased]\n", "[Unreleased]\n\n- New.\n"), "entries under [Unreleased]"),
        (RELEASED.replace("### Added\n- Something.\n", ""), "nothing under [1.2.0]"),
        (RELEASED.replace("2026-12-01", "soon"), "[1.2.0] - soon; a day is YYYY-MM-DD"),
        ("# Changelog\n", "begins with no heading"),
    ],
)
def test_a_changelog_that_is_not_ready_says_why(text: str, words: str) -> None:
    (fault,) = checks.changelog_faults(text, "1.2.0")
    assert words in fault


def test_the_changelog_here_has_the_headings_that_the_check_reads() -> None:
    text = (checks.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    today = text.replace("## [Unreleased]\n", f"## [Unreleased]\n\n## [{checks.project_version()}] - 2026-12-01\n", 1)
    if f"## [{checks.project_version()}]" in text:
        today = text
    assert checks.changelog_faults(today, checks.project_version()) == []


def test_a_file_that_is_not_kept_is_named(tmp_path: Path) -> None:
    version = checks.project_version()
    assert checks.kept_faults(version) == []
    shutil.copytree(kept.KEPT / version, tmp_path / version)
    (tmp_path / version / kept.AUDIT).unlink()
    (fault,) = checks.kept_faults(version, tmp_path)
    assert f"has no {kept.AUDIT}:" in fault


def test_a_tree_with_changes_is_not_clean(tmp_path: Path) -> None:
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    for command in ("git init -q .", "git commit -q --allow-empty -m first"):
        subprocess.run(command.split(), cwd=tmp_path, env={**os.environ, **who}, check=True)
    assert checks.tree_faults(tmp_path) == []
    (tmp_path / "new.py").write_text("")
    assert checks.tree_faults(tmp_path) == ["1 files are not committed, new.py among them"]
    shutil.rmtree(tmp_path / ".git")
    (fault,) = checks.tree_faults(tmp_path)
    assert fault.startswith("git can't say")


def wheel_of(folder: Path, *names: str) -> Path:
    path = folder / "evenvoice-1.2.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in (*names, "evenvoice-1.2.0.dist-info/METADATA"):
            archive.writestr(name, "")
    return path


def test_a_wheel_without_a_page_or_a_migration_is_found(tmp_path: Path) -> None:
    tracked = ["gateway/pages/console.html", "gateway/records/migrations/versions/r0001_decisions.py"]
    licence = "evenvoice-1.2.0.dist-info/licenses/LICENSE"
    assert checks.wheel_faults(wheel_of(tmp_path, *tracked, licence), tracked) == []
    found = checks.wheel_faults(wheel_of(tmp_path, tracked[0], "gateway/scratch.py"), tracked)
    assert found == [
        f"the wheel has no {tracked[1]}",
        "the wheel has gateway/scratch.py, which git does not",
        "the wheel has no LICENSE",
    ]


def test_what_the_packages_hold_beside_python_is_declared() -> None:
    """A wheel is of modules and of what `package-data` names: anything else in a package would be left behind."""
    project = checks.tomllib.loads((checks.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    data = project["tool"]["setuptools"]["package-data"]
    folders = {Path(name).parent for name in checks.tracked_files() if name.endswith("/__init__.py")}
    for name in checks.tracked_files():
        path = Path(name)
        package = path.parts[0]
        if path.suffix == ".py":
            assert path.parent in folders, f"{name} lies in no package"
        else:
            inner = path.relative_to(package)
            assert any(
                inner.full_match(p) if hasattr(inner, "full_match") else inner.match(p) for p in data[package]
            ), name


def test_the_quick_run_names_each_step_and_goes_on_after_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> list[str]:
        raise OSError("no disk")

    steps = {"first": lambda: ["a fault"], "second": broken, "third": list[str]}
    monkeypatch.setattr(dry_run, "steps", lambda *_, **__: steps)
    monkeypatch.setattr(sys, "argv", ["releasing.dry_run", "--quick"])
    with pytest.raises(SystemExit) as ended:
        dry_run.main()
    assert ended.value.code == 1
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    told = [["FAULT", "first"], ["a", "fault"], ["FAULT", "second"], ["no", "disk"], ["ok", "third"]]
    assert [line[:2] for line in lines] == told


def test_what_an_installed_wheel_is_tried_with_knows_nothing_of_this_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("EVENVOICE_BUNDLE", "/somewhere")
    printed = installed.run([sys.executable, "-c", "import os; print(sorted(os.environ))"])
    assert "PATH" in printed
    assert "PYTHONPATH" not in printed
    assert "EVENVOICE_BUNDLE" not in printed
