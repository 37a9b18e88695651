"""The command line: every command with its arguments, options and defaults, from click itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from docs.generator.markdown import code, fenced, prose, table, whole_page
from gateway.cli.main import cli

_ROOT = "evenvoice"


def page() -> str:
    found = list(commands(cli, _ROOT))
    return whole_page(
        "The command line",
        "`evenvoice COMMAND --help` says the same. Commands are loaded when they are called.",
        table(
            ("exit code", "of every command that does not say otherwise below"),
            (
                ("0", "done"),
                ("1", "it could not be done; a line on standard error says why and what is accepted"),
                ("2", "a mistaken option or argument"),
                ("130", "Ctrl-C"),
            ),
        ),
        "For all of `evenvoice audit` codes are [verdicts](../audits.md): 0 pass, 1 disparity, 2 inconclusive, 3 an "
        "error of any kind.",
        table(("command", "what"), ((_link(path), command.get_short_help_str(200)) for path, command in found)),
        *(_section(path, command) for path, command in found),
    )


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with the words that call it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command, info_name=path)
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from commands(child, f"{path} {name}")


def _section(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path)
    usage = " ".join((path, *command.collect_usage_pieces(context)))
    return "\n\n".join(
        part
        for part in (
            f"## {path}",
            prose(inspect.cleandoc(command.help or "")),
            fenced(usage),
            table(("option", "what"), _options(command, path)),
        )
        if part
    )


def _options(command: click.Command, path: str) -> Iterator[tuple[str, str]]:
    for parameter in command.params:
        if not isinstance(parameter, click.Option) or parameter.hidden:
            continue
        # A default that depends on the machine stands in the help as words.
        is_said = "[default:" in (parameter.help or "")
        record = parameter.get_help_record(click.Context(command, info_name=path, show_default=not is_said))
        assert record is not None
        names, text = record
        variable = f" Or {code(parameter.envvar)}." if parameter.envvar else ""
        yield code(" ".join(names.split())), f"{text.strip()}{variable}"


def _link(path: str) -> str:
    return f"[{path}](#{path.replace(' ', '-')})"
