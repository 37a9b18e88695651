"""What `make release` looks at before it builds: each check finds its fault, and passes what is right."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from releasing import checks, dry_run, freeze, installed, kept

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


def test_who_would_deploy_the_image_of_another_version_is_named() -> None:
    version = checks.project_version()
    assert checks.image_faults(version) == []
    told = checks.image_faults("99.0.0")
    named = (
        "compose.yaml",
        "example.env",
        *(f"overlays/{name}/kustomization.yaml" for name in ("cpu", "gpu", "postgres")),
    )
    for name in (*named, "docs/images.md", "docs/compose.md", "docs/kubernetes.md"):
        assert any(fault.partition(" names")[0].endswith(name) for fault in told), name
    assert all(fault.endswith(f"names the image {version}") for fault in told)


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


@pytest.fixture
def kept_of_1_2_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose pyproject.toml says 1.2.0, and the files that are kept of that."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    folder = tmp_path / "kept" / "1.2.0"
    folder.mkdir(parents=True)
    (folder / kept.API).write_text("old")
    monkeypatch.setattr(kept, "KEPT", folder.parent)
    monkeypatch.setattr(freeze, "project_version", lambda: "1.2.0")
    monkeypatch.setattr(freeze, "is_tagged", lambda version: checks.is_tagged(version, tmp_path))
    monkeypatch.setattr(freeze, "freeze", lambda folder: folder.mkdir())
    return folder


def test_the_kept_files_of_a_release_that_is_out_are_never_written_again(
    kept_of_1_2_0: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def frozen(installed: str, *options: str) -> str | None:
        monkeypatch.setattr(freeze, "version", lambda _: installed)
        monkeypatch.setattr(sys, "argv", ["releasing.freeze", *options])
        try:
            freeze.main()
        except SystemExit as ended:
            return str(ended.code)
        return None

    def is_as_it_was() -> bool:
        return (kept_of_1_2_0 / kept.API).is_file()

    # the version was raised, and this environment still has the one before, whose files --again would replace
    assert "pip install -e . first" in (frozen("1.1.0", "--again") or "")
    assert "is there already" in (frozen("1.2.0") or "")
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    for command in ("git commit -q --allow-empty -m first", "git tag v1.2.0"):
        subprocess.run(command.split(), cwd=kept_of_1_2_0.parents[1], env={**os.environ, **who}, check=True)
    assert "1.2.0 is out" in (frozen("1.2.0", "--again") or "")
    assert is_as_it_was()
    subprocess.run(
        ["git", "tag", "--delete", "v1.2.0"], cwd=kept_of_1_2_0.parents[1], stdout=subprocess.DEVNULL, check=True
    )
    assert frozen("1.2.0", "--again") is None
    assert not is_as_it_was()


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
