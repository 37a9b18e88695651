"""The `evenvoice` command; each subcommand's module is loaded when it is called."""

from __future__ import annotations

import sys
from importlib.metadata import version

import click

from gateway.cli.errors import is_ours
from gateway.cli.lazy import LazyGroup

_COMMANDS = {
    "audit": ("gateway.cli.audit", "Measure whom a bundle turns away, on a labelled manifest."),
    "bundle": ("gateway.cli.bundle", "Look at, check, store and fetch bundles."),
    "classify": ("gateway.cli.classify", "Decide on audio files without a server."),
    "corpus": ("gateway.cli.corpus", "Make and describe manifests of labelled clips."),
    "dashboards": ("gateway.cli.dashboards", "Write the Grafana dashboards, or push them to a Grafana."),
    "demo": ("gateway.cli.demo", "The whole line on synthetic voices: train, audit, serve, ask."),
    "keys": ("gateway.cli.keys", "Make, list and revoke API keys."),
    "listen": ("gateway.cli.listen", "Speak, and see what a gateway or a bundle decides and why."),
    "record": ("gateway.cli.record", "Record labelled clips of people who agree to it, for an audit."),
    "records": ("gateway.cli.records", "Export, erase and retain stored decisions."),
    "rules": ("gateway.cli.rules", "Write the recording and alert rules that Prometheus loads."),
    "send": ("gateway.cli.send", "Have a gateway decide on audio files."),
    "serve": ("gateway.cli.serve", "Serve a bundle over HTTP."),
    "speakers": ("gateway.cli.speakers", "Fill and look at the register of speakers."),
    "stack": ("gateway.cli.stack", "A gateway beside Prometheus and its kin, and an alarm that comes, on one machine."),
    "study": ("gateway.cli.study", "The paper's study on a corpus: harden, attack, reject, compare groups."),
    "thresholds": ("gateway.cli.thresholds", "Measure a bundle's thresholds on validation clips, and set them."),
    "train": ("gateway.cli.train", "Train a recogniser and write its bundle."),
}


@click.group(cls=LazyGroup, modules=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
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
        if not is_ours(error):
            raise
        click.echo(f"evenvoice: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
