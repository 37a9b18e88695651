"""The `evenvoice` command; each subcommand's module is loaded when it is called."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import version

import click

_COMMANDS = {
    "audit": ("audit", "Measure whom a bundle turns away, on a labelled manifest."),
    "bundle": ("bundle", "Look at, check, store and fetch bundles."),
    "classify": ("classify", "Decide on audio files without a server."),
    "corpus": ("corpus", "Make and describe manifests of labelled clips."),
    "demo": ("demo", "The whole line on synthetic voices: train, audit, serve, ask."),
    "keys": ("keys", "Make, list and revoke API keys."),
    "records": ("records", "Export, erase and retain stored decisions."),
    "serve": ("serve", "Serve a bundle over HTTP."),
    "speakers": ("speakers", "Fill and look at the register of speakers."),
    "study": ("study", "The paper's study on a corpus: harden, attack, reject, compare groups."),
    "thresholds": ("thresholds", "Measure a bundle's thresholds on validation clips, and set them."),
    "train": ("train", "Train a recogniser and write its bundle."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"gateway.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("evenvoice"), prog_name="evenvoice")
def cli() -> None:
    """A speech-command gateway that accepts or abstains, and measures whom its defenses turn away."""


def main() -> None:
    """Run the command line; an error of the user's ends in one line and exit code 1, not in a traceback."""
    try:
        code = cli.main(prog_name="evenvoice", standalone_mode=False)
        sys.exit(code)  # that of ctx.exit, or None where a command just ends
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        if not _is_ours(error):
            raise
        click.echo(f"evenvoice: {error}", err=True)
        sys.exit(1)


def _is_ours(error: Exception) -> bool:
    """Whether a package raised it on purpose, with words for the user; a fault keeps its traceback."""
    packages = ("recognizer", "training", "monitoring", "gateway")
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in packages


if __name__ == "__main__":
    main()
