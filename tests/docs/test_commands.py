"""The documentation's commands: run as a reader would, or marked as what a test has not got."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from doc_blocks import KINDS, LONG, NEEDS, ROOT, RUN, SHOWN, Block, blocks_of, pages
from doc_commands import calls, check, check_imports, commands_in
from doc_workspace import PORT_OF_PAGES, Workspace, dedented

PAGES = pages()
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
_ASKS = (PORT_OF_PAGES, "evenvoice send", "robot_arm.py")


def _is_run(page: Path) -> bool:
    return any(block.is_run for block in blocks_of(page))


@pytest.mark.parametrize("page", [p for p in PAGES if _is_run(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_what_a_page_says_can_be_done(
    page: Path, make_workspace: Callable[[], Workspace], request: pytest.FixtureRequest
) -> None:
    blocks = blocks_of(page)
    home = make_workspace()
    serves_itself = any(block.said("serves") for block in blocks)
    if not serves_itself and any(words in block.code for block in blocks if block.is_run for words in _ASKS):
        home.port = request.getfixturevalue("served").port
    printed = ""
    try:
        for block in blocks:
            if block.said("prints"):
                assert dedented(printed) == dedented(block.code), f"{block}: it prints\n{printed}"
            elif block.is_run and block.said("serves"):
                home.start(block)
            elif block.is_run:
                done = home.run(block)
                printed = done.stdout
                assert done.returncode == 0, f"{block} ended with {done.returncode}:\n{block.code}\n\n{printed}"
    finally:
        home.close()


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.is_code and not b.is_run], ids=str)
def test_what_is_not_run_is_marked_truly_and_would_be_understood(block: Block) -> None:
    for place in block.said("run elsewhere"):
        path, _, name = place.partition("::")
        assert (ROOT / path).is_file(), place
        assert not name or re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), place
    assert set(block.said("needs")) <= set(NEEDS), f"{block} needs what is none of {NEEDS}"
    assert set(block.said("long")) <= set(LONG), f"{block} is long: {LONG} are accepted"
    if block.language == "python":
        check_imports(block.code)
        return
    elsewhere = "".join((ROOT / place.partition("::")[0]).read_text() for place in block.said("run elsewhere"))
    for words in commands_in(block.code):
        assert not elsewhere or calls(elsewhere, words), f"{block}: none of those named runs {' '.join(words)}"
        try:
            check(words)
        except (click.ClickException, LookupError) as error:
            raise AssertionError(f"{block}: {' '.join(words)}: {error}") from error


def test_every_block_has_a_language_that_says_whether_it_is_run() -> None:
    assert {b.language for b in BLOCKS} <= {*RUN, *SHOWN}, [str(b) for b in BLOCKS if b.language not in (*RUN, *SHOWN)]


def test_every_mark_is_of_a_kind_that_means_something() -> None:
    assert [(str(b), kind) for b in BLOCKS for kind, _ in b.marks if kind not in KINDS] == []


def test_a_command_that_is_wrong_is_found() -> None:
    for wrong in ("evenvoice serve --bundel bundle", "evenvoice bake", "python -m benchmarks.nothing", "make nothing"):
        (words,) = commands_in(wrong)
        with pytest.raises((click.ClickException, LookupError)):
            check(words)


def test_a_test_that_calls_another_command_is_found() -> None:
    (words,) = commands_in("evenvoice audit pool a b --out audit")
    assert calls('evenvoice("audit", "pool", one, two)', words)
    assert calls('CliRunner().invoke(command, ["pool", one, two])', words)
    assert not calls('evenvoice("audit", "run"); pool_audits(one, two)', words)
    (words,) = commands_in("evenvoice serve --bundle bundle")
    assert calls("from test_served import Server", words)
    assert not calls("serve(bundle)", words)


def test_commands_are_told_from_what_stands_around_them() -> None:
    code = (
        "KEY=x evenvoice keys list \\\n  --file k.json > out 2>&1  # a comment; and more\n"
        "cat <<'END'\nno command\nEND\na && b | c"
    )
    assert list(commands_in(code)) == [
        ["evenvoice", "keys", "list", "--file", "k.json"],
        ["cat"],
        ["a"],
        ["b"],
        ["c"],
    ]
