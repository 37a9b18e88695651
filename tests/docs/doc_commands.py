"""Commands in a block of Bash that is not run: those of ours are held against the command line all the same."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from itertools import dropwhile, takewhile
from pathlib import Path

import click
from doc_blocks import ROOT

from gateway.cli.main import cli

_SEPARATORS = {"&&", "||", "|", ";", "&", "(", ")"}
_REDIRECTION = re.compile(r"\s\d?(>>?|<)(&\d|\s*[^\s&<>]+)")


def commands_in(code: str) -> Iterator[list[str]]:
    """The words of each command, without comments, assignments before it, and redirections.

    What lies in a here-document is no command.
    """
    for line in _lines(code):
        lexer = shlex.shlex(_REDIRECTION.sub("", line), posix=True, punctuation_chars="();|&")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word in _SEPARATORS:
                if words := _bare(words):
                    yield words
                words = []
            else:
                words.append(word)


def check(words: list[str]) -> None:
    """Refuse a command of ours that would not be understood.

    Raises:
        click.ClickException: `evenvoice` with options or arguments that it does not take.
        LookupError: a module, script or target of make that is not there.
    """
    program, *rest = words
    match Path(program).name, rest:
        case "evenvoice", _:
            _parse(cli, "evenvoice", rest)
        case (("python" | "python3"), ["-m", module, *_]) if module.split(".")[0] in (
            "benchmarks",
            "docs",
            "releasing",
        ):
            path = ROOT / module.replace(".", "/")
            if not path.with_suffix(".py").is_file() and not (path / "__main__.py").is_file():
                raise LookupError(f"there is no module {module}")
        case (("python" | "python3"), [script, *_]) if script.endswith(".py"):
            if not (ROOT / script).is_file():
                raise LookupError(f"there is no script {script}")
        case "make", [target, *_]:
            if f"\n{target}:" not in (ROOT / "Makefile").read_text():
                raise LookupError(f"the Makefile has no target {target}")
        case _:
            pass


def calls(test: str, words: list[str]) -> bool:
    """Whether the text of a test, or of a script, says the name of this command of ours as one that calls it does.

    Of what is not ours nothing is asked. `Server` of the tests is `evenvoice serve`.
    """
    program, *rest = words
    names = list(takewhile(re.compile(r"[a-z][a-z-]*").fullmatch, rest))
    if Path(program).name != "evenvoice" or not names:
        return True
    if names[0] == "serve" and re.search(r"\bServer\b", test):
        return True
    command: click.Command | None = cli
    last = ""
    for name in names:
        if isinstance(command, click.Group):
            command, last = command.get_command(click.Context(command), name), name
    return f'"{last}"' in test


def check_imports(code: str) -> None:
    """Refuse Python that is none, or that imports what is not there.

    Raises:
        SyntaxError, ImportError: it can't be read, or names something that is not there.
    """
    imports: list[ast.stmt] = [line for line in ast.parse(code).body if isinstance(line, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), "the block", "exec"), {})


def _lines(code: str) -> Iterator[str]:
    """Lines with those that go on joined, without here-documents and comments."""
    ending = None
    for line in code.replace("\\\n", " ").splitlines():
        if ending is not None:
            ending = None if line.strip() == ending else ending
            continue
        if "<<" in line:
            ending = line.partition("<<")[2].strip().lstrip("-").split()[0].strip("'\"")
            line = line.partition("<<")[0]
        yield line


def _bare(words: list[str]) -> list[str]:
    """Without assignments before the command."""
    return list(dropwhile(lambda word: "=" in word.partition("/")[0], words))


def _parse(command: click.Command, name: str, words: list[str], parent: click.Context | None = None) -> None:
    context = click.Context(command, info_name=name, parent=parent)
    if isinstance(command, click.Group):
        if not words or words[0].startswith("-"):
            command.parse_args(context, list(words))
            return
        child = command.get_command(context, words[0])
        if child is None:
            raise click.UsageError(f"there is no command {name} {words[0]}", ctx=context)
        _parse(child, f"{name} {words[0]}", words[1:], context)
        return
    try:
        command.parse_args(context, list(words))
    except click.exceptions.Exit:  # --help, --version
        pass
    except click.BadParameter as error:
        if "does not exist" not in error.message:  # the reader has that file
            raise
