"""`evenvoice corpus`: every corpus becomes one manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import click
from click.core import ParameterSource

from gateway.cli.options import FILE, FOLDER, Number, names, pairs
from gateway.cli.progress import bars, console
from recognizer.groups import ATTRIBUTES
from recognizer.manifest import load_manifest
from recognizer.progress import Stage
from training.corpora.audiomnist import DIGITS, read_audiomnist
from training.corpora.common_voice import read_common_voice
from training.corpora.corpus import Corpus, describe, write
from training.corpora.folder import own_manifest, read_folder
from training.corpora.ranges import Ranges
from training.corpora.rendering import render, render_report
from training.corpora.sounds import Shares, add_sounds
from training.corpora.splits import Fold
from training.corpora.synthetic import synthesize

_out = click.option("--out", type=FILE, required=True, help="Manifest to write: .csv or .parquet.")
_seed = click.option("--seed", type=int, default=0, show_default=True, help="Of the split.")


def _split(default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--split",
        type=click.Choice(["closed", "open"]),
        default=default,
        show_default=True,
        help="closed: 7:1:2 within each speaker and command; open: speakers disjoint.",
    )


def _fold(_: click.Context, parameter: click.Parameter, value: str | None) -> Fold | None:
    if value is None:
        return None
    number, slash, of = value.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal()):
        raise click.BadParameter(f"{value!r} is not I/K, such as 1/5", param=parameter)
    return Fold(int(number), int(of))


@click.group("corpus")
def command() -> None:
    """Make and describe manifests of labelled clips."""


@command.command("audiomnist")
@click.argument("root", type=FOLDER)
@_out
@_split("closed")
@_seed
def audiomnist(root: Path, out: Path, split: Literal["closed", "open"], seed: int) -> None:
    """The AudioMNIST repository at ROOT: data/NN/D_NN_I.wav and audioMNIST_meta.txt."""
    _finish(read_audiomnist(root, split=split, seed=seed), out)


@command.command("common-voice")
@click.argument("root", type=FOLDER)
@_out
@_split("open")
@_seed
def common_voice(root: Path, out: Path, split: Literal["closed", "open"], seed: int) -> None:
    """A Common Voice single-word release at ROOT: train.tsv, dev.tsv, test.tsv, clips/. open is the official split."""
    _finish(read_common_voice(root, split=split, seed=seed), out)


@command.command("folder")
@click.argument("root", type=FOLDER)
@_out
@_split("closed")
@_seed
def folder(root: Path, out: Path, split: Literal["closed", "open"], seed: int) -> None:
    """A folder of your own at ROOT: <command>/<speaker>_<anything>.wav (or flac, ogg, mp3)."""
    _finish(read_folder(root, split=split, seed=seed), out)


@command.command("own")
@click.argument("manifests", type=FILE, nargs=-1, required=True)
@_out
@click.option("--columns", multiple=True, callback=pairs, help="OURS=THEIRS, such as command=label.")
@click.option(
    "--attributes", multiple=True, callback=names, help="Attribute columns. [default: accent,age,gender,native]"
)
@click.option("--commands", multiple=True, callback=names, help="Labels that are commands, or `digits`. [default: all]")
@click.option("--others", type=click.Choice(["unknown", "drop"]), default="unknown", show_default=True)
@click.option("--native-from", help="Column with the first language: native = English.")
@click.option(
    "--ranges",
    multiple=True,
    callback=pairs,
    help="Groups of an attribute that is a number: ATTRIBUTE=0-3:4-6:7-10. [default: each number is one]",
)
@click.option("--split", type=click.Choice(["given", "closed", "open"]), default="open", show_default=True)
@click.option("--hold-out", "held", type=FILE, multiple=True, help="Manifest whose speakers the test split is about.")
@click.option("--hold-out-share", type=Number(0, 1), default=0.5, show_default=True)
@click.option(
    "--hold-out-fold",
    callback=_fold,
    metavar="I/K",
    help="In place of a share: the I-th of the K parts that these speakers are divided into.",
)
@click.option("--stratify", multiple=True, callback=names, help="Attributes to spread evenly over an open split.")
@click.option(
    "--sounds",
    type=Number(0),
    default=0.0,
    show_default=True,
    help="Clips of babble, of music and of noise to make, for every clip of a command; `unknown`.",
)
@click.option(
    "--pseudo-words",
    type=Number(0),
    default=0.0,
    show_default=True,
    help="Clips of commands cut up into no word to make, likewise.",
)
@_seed
def own(
    manifests: tuple[Path, ...],
    out: Path,
    columns: dict[str, str],
    attributes: tuple[str, ...] | None,
    commands: tuple[str, ...] | None,
    others: Literal["unknown", "drop"],
    native_from: str | None,
    ranges: dict[str, str],
    split: Literal["given", "closed", "open"],
    held: tuple[Path, ...],
    hold_out_share: float,
    hold_out_fold: Fold | None,
    stratify: tuple[str, ...] | None,
    sounds: float,
    pseudo_words: float,
    seed: int,
) -> None:
    """Manifests of your own, merged: CSV or Parquet with path, command, speaker and attributes.

    Sounds are written as FLAC into the folder `sounds` beside the manifest.
    """
    source = click.get_current_context().get_parameter_source("hold_out_share")
    if hold_out_fold is not None and source is not ParameterSource.DEFAULT:
        raise click.UsageError("--hold-out-share beside --hold-out-fold: one of them is accepted")
    corpus = own_manifest(
        manifests,
        columns=columns,
        attributes=attributes or ATTRIBUTES,
        commands=DIGITS if commands == ("digits",) else commands,
        others=others,
        native_from=native_from,
        ranges={attribute: Ranges.parse(text) for attribute, text in ranges.items()},
        split=split,
        hold_out_from=held,
        hold_out_share=hold_out_share,
        hold_out_only=hold_out_fold,
        stratify=stratify or (),
        seed=seed,
    )
    shares = Shares(sounds=sounds, pseudo_words=pseudo_words)
    _finish(add_sounds(corpus, out.parent / "sounds", shares, seed=seed), out)


@command.command("synthetic")
@click.argument("root", type=FOLDER)
@click.option("--voices", type=click.IntRange(10, 400), default=132, show_default=True)
@_seed
def synthetic(root: Path, voices: int, seed: int) -> None:
    """Synthesise command words of many voices into the folder ROOT."""
    with bars() as show:
        path = synthesize(root, count=voices, seed=seed, progress=lambda d, n: show(Stage("speaking", d, n)))
    console.print(render(describe(load_manifest(path))))
    console.print(f"wrote {path}")


@command.command("describe")
@click.argument("manifest", type=FILE)
@click.option("--columns", multiple=True, callback=pairs, help="OURS=THEIRS, such as command=label.")
@click.option(
    "--attributes", multiple=True, callback=names, help="Attribute columns. [default: accent,age,gender,native]"
)
def show_description(manifest: Path, columns: dict[str, str], attributes: tuple[str, ...] | None) -> None:
    """Print clips, speakers, groups and their crossings; a manifest without splits counts as test."""
    loaded = load_manifest(manifest, columns=columns, attributes=attributes, default_split="test")
    console.print(render(describe(loaded)))


def _finish(corpus: Corpus, out: Path) -> None:
    write(corpus, out)
    console.print(render_report(corpus))
    console.print(render(describe(corpus.manifest)))
    console.print(f"wrote {out}")
