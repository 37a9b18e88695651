"""Words that are no command, on real speech: `python -m benchmarks.unknown SPEECH`.

SPEECH holds `fsdd`, `kokoro20`, `speech_commands_mini` and `duke_digits`. The commands are the digits. The 20 other
words make two folds: in each, half of them are never trained on by anybody, and every corpus but `fsdd` keeps speakers
apart for the test. Three of the words that are left are for validation alone: there, and only there, are settings
chosen. Of each defense that is the threshold that understands the most digits while it accepts at most 5 % of those
words, and the chosen setting is the defense that does that best.

Babble, music, noise and pseudo-words are made for each split from its own speakers. The same recipe without any
`unknown` clip, undefended, gives the accuracy that is compared with. A fold that is done is not done again; one that
was killed goes on from its last epoch.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.goals import Goal, finish
from gateway.cli.progress import bars
from recognizer.audio import AudioFormat
from recognizer.bundle import AudioSpec, load_bundle, read_manifest
from recognizer.decision import UNKNOWN, Decision
from recognizer.defense import Defense
from recognizer.manifest import SOUND, Manifest, load_manifest, merge
from recognizer.network import predict_logits
from recognizer.neural_rejection import NeuralRejection, Score
from recognizer.progress import OnProgress, Stage
from training.build import BuildSettings, build_bundle
from training.corpora.audiomnist import DIGITS
from training.corpora.corpus import Corpus, write
from training.corpora.folder import own_manifest
from training.corpora.sounds import Kind, Shares, add_sounds
from training.dataset import ClipSet, load_clips
from training.hardening import Epoch, fit_network
from training.recipe import Recipe, strong_recipe
from training.rejection import fit_rejection

CORPORA = ("fsdd", "kokoro20", "speech_commands_mini", "duke_digits")
FOLDS = 2
ATTRIBUTES = ("gender", "native")
EPOCHS = 120
TRAINED_ON, MEASURED_ON = Shares(sounds=0.05, pseudo_words=0.15), Shares(sounds=0.2, pseudo_words=0.2)
SIGMA, DRAWS = 0.01, 200
ABATING = 0.5  # threshold at which NR's rejection of what is far from its data is shown
MOST_ACCEPTED, MOST_LOST = 0.05, 0.02
THRESHOLDS = tuple(round(0.01 * step, 2) for step in range(1, 100))
SHOWN = THRESHOLDS[9::10]
NONE, RS = "none", "RS"
NR = {Score.PROBABILITY: "NR, probability", Score.MARGIN: "NR, margin"}
DEFENSES = (NONE, *NR.values(), RS, *(f"{name} + RS" for name in NR.values()))
UNSEEN, SEEN = "unseen words", "seen words"
HEARD = (UNSEEN, SEEN, *(str(kind) for kind in Kind))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--folds", default="0,1", help="which to train and test, with commas")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--threads", type=int, help="torch's own choice by default")
    parser.add_argument("--out", type=Path, default=Path("runs/unknown"))
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    recipe = strong_recipe(epochs=arguments.epochs)
    folds = [int(fold) for fold in arguments.folds.split(",")]
    with bars() as show:
        results = [fold_results(arguments.out / f"fold{f}", arguments.speech, f, recipe, show) for f in folds]
    clips = pd.concat([clips for clips, _ in results], ignore_index=True)
    report(clips, [costs for _, costs in results], recipe)


def corpus_of(speech: Path, fold: int) -> Manifest:
    """Digits and other words of a fold, split by speaker and by word."""
    manifest = own_manifest(
        [speech / name / "manifest.csv" for name in CORPORA],
        columns={"command": "label"},
        attributes=ATTRIBUTES,
        commands=DIGITS,
        native_from="native",
    ).manifest
    table = manifest.table.copy()
    words = sorted(set(table[SOUND]) - {""})
    unseen = set(words[fold::FOLDS])
    validating = set([word for word in words if word not in unseen][1::4])
    part = pd.Series("train", index=table.index)
    for name in CORPORA[1:]:  # fsdd has 6 speakers, all trained on
        rows = table["path"].str.contains(f"/{name}/", regex=False)
        people = table[rows].drop_duplicates("speaker").sort_values([*ATTRIBUTES, "speaker"])["speaker"].tolist()
        if name == "speech_commands_mini":  # half are tested: it has the most words, and few clips of each
            tested, held = set(people[fold::2]), set(people[1 - fold :: 8])
        else:
            tested, held = set(people[fold::4]), set(people[fold + 2 :: 8])
        part[rows & table["speaker"].isin(list(held))] = "validation"
        part[rows & table["speaker"].isin(list(tested))] = "test"
    is_command, word = table["command"] != UNKNOWN, table[SOUND]
    # Words to validate on may be said by anybody who is not tested: nobody has trained on them.
    part[word.isin(list(validating)) & (part == "train")] = "validation"
    kept = is_command | np.where(
        part == "train",
        ~word.isin(list(unseen | validating)),
        np.where(part == "validation", word.isin(list(validating)), ~word.isin(list(validating))),
    )
    table["split"] = part
    return Manifest(table[kept].reset_index(drop=True), manifest.attributes)


def fold_results(
    folder: Path, speech: Path, fold: int, recipe: Recipe, show: OnProgress
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """One row a clip of validation and test: what it is and, of every defense, what it says and how surely; and what
    neural rejection costs and decides far from its data."""
    done, said = folder / "clips.parquet", folder / "costs.json"
    if done.exists():
        if json.loads(said.read_text(encoding="utf-8"))["recipe"] != recipe.model_dump(mode="json"):
            raise SystemExit(f"{done} is of another recipe; remove it, or give another --out")
        return pd.read_parquet(done), json.loads(said.read_text(encoding="utf-8"))
    manifest = made_manifest(folder, speech, fold)
    settings = BuildSettings(name=f"unknown-{fold}", recipe=recipe, sigma=SIGMA, draws=DRAWS, confidence_threshold=0.0)
    bundle = folder / "bundle"
    if not (bundle / "bundle.json").exists():
        build_bundle(manifest, bundle, settings, checkpoints=folder / "training", on_progress=show)
    elif read_manifest(bundle).training != settings.model_dump(mode="json"):
        raise SystemExit(f"{bundle} was built with other settings; remove it, or give another --out")
    recognizer = load_bundle(bundle)
    audio = AudioFormat(**AudioSpec().model_dump())
    parts = {split: load_clips(manifest.split(split), recognizer.labels, audio) for split in ("validation", "test")}
    alone = without_unknown(folder, manifest, recipe, audio, show)
    rejection = recognizer.defense("neural_rejection")
    assert isinstance(rejection, NeuralRejection)
    by_margin = NeuralRejection(
        rejection.network, rejection.machine, rejection.labels, confidence_threshold=0.0, score=Score.MARGIN
    )
    defenses = (recognizer.defense("none"), rejection, by_margin, recognizer.defense("smoothing"))
    frames = [decided(defenses, clips, show) for clips in parts.values()]
    logits = predict_logits(alone[Score.PROBABILITY].network, parts["test"].waveforms)
    frames[1]["without_unknown"] = [DIGITS[k] for k in logits.argmax(dim=1).tolist()]
    for score, machine in alone.items():
        decisions = machine.decide(parts["test"].waveforms, clip_ids=parts["test"].manifest.clip_ids, seed=0)
        frames[1][f"without unknown, {NR[score]}"] = [d.confidence for d in decisions]
    clips = pd.concat(frames, ignore_index=True).assign(fold=fold)
    is_trained_on = clips[SOUND].isin(list(set(manifest.split("train").table[SOUND])))
    clips["heard"] = np.select(
        [clips["command"] != UNKNOWN, clips[SOUND].isin([*Kind]), is_trained_on], ["", clips[SOUND], SEEN], UNSEEN
    )
    costs = {
        "recipe": recipe.model_dump(mode="json"),
        **milliseconds(rejection, parts["test"]),
        "far_from_data": {"with unknown": far(rejection), "without": far(alone[Score.PROBABILITY])},
    }
    clips.to_parquet(done)
    said.write_text(json.dumps(costs), encoding="utf-8")
    return clips, costs


def far(rejection: NeuralRejection) -> dict[str, Any]:
    """Far from all data, where every kernel is 0: who leads, by which probability and by which margin."""
    decision = rejection.far_from_data()
    return {
        "leader": decision.top[0].command,
        "probability": round(decision.top[0].share, 4),
        "margin": round(float(rejection.machine.intercept.max()), 4),
    }


def made_manifest(folder: Path, speech: Path, fold: int) -> Manifest:
    """The fold's corpus with its sounds, written once."""
    path = folder / "manifest.csv"
    if not path.exists():
        words = corpus_of(speech, fold)
        parts = ((words.split("train"), TRAINED_ON), (words.split("validation", "test"), MEASURED_ON))
        made = [add_sounds(Corpus(part, (), ()), folder / "sounds", shares, seed=fold) for part, shares in parts]
        write(Corpus(merge([corpus.manifest for corpus in made]), (), ()), path)
    return load_manifest(path, attributes=ATTRIBUTES)


def without_unknown(
    folder: Path, manifest: Manifest, recipe: Recipe, audio: AudioFormat, show: OnProgress
) -> dict[Score, NeuralRejection]:
    """A network that was trained on digits alone, and neural rejection on it by either score; to it all is a digit."""
    digits = manifest.where((manifest.table["command"] != UNKNOWN).tolist())
    training, validation = (load_clips(digits.split(s), DIGITS, audio) for s in ("train", "validation"))

    def on_epoch(epoch: Epoch) -> None:
        note = f"validation accuracy {epoch.validation_accuracy:.3f}"
        show(Stage("training without unknown", epoch.number, recipe.epochs, note))

    network = fit_network(
        training,
        validation,
        len(DIGITS),
        recipe,
        sample_rate=audio.sample_rate,
        checkpoint=folder / "without_unknown.pt",
        on_epoch=on_epoch,
    ).network
    machine = fit_rejection(network, training)
    return {s: NeuralRejection(network, machine, DIGITS, confidence_threshold=0.0, score=s) for s in Score}


def decided(defenses: Iterable[Defense], clips: ClipSet, show: OnProgress) -> pd.DataFrame:
    """One row a clip; of each defense the command it leads with ("" for none) and how sure it is of it."""
    table = clips.manifest.table.copy()
    for defense in defenses:
        decisions: list[Decision] = []
        for start in range(0, len(clips), 64):
            part = slice(start, start + 64)
            ids = clips.manifest.clip_ids[part]
            decisions += defense.decide(clips.waveforms[part], clip_ids=ids, seed=0)
            show(Stage(f"deciding with {name_of(defense)}", min(start + 64, len(clips)), len(clips)))
        leaders = [d.command or "" if name_of(defense) == RS else d.top[0].command for d in decisions]
        table[f"{name_of(defense)}: said"] = ["" if leader == UNKNOWN else leader for leader in leaders]
        table[f"{name_of(defense)}: sure"] = [d.confidence for d in decisions]
    return table


def name_of(defense: Defense) -> str:
    if isinstance(defense, NeuralRejection):
        return NR[defense.score]
    return RS if defense.name == "smoothing" else NONE


def milliseconds(rejection: NeuralRejection, clips: ClipSet) -> dict[str, float]:
    """Median processor milliseconds a clip of the network's features and of the machine, clip by clip."""
    network, machine = [], []
    with torch.inference_mode():
        for waveform in clips.waveforms[:200]:
            times = [time.process_time()]
            features = rejection.network.features(waveform[None])
            times.append(time.process_time())
            rejection.machine.probabilities(features)
            times.append(time.process_time())
            network.append(times[1] - times[0])
            machine.append(times[2] - times[1])
    return {
        "support_vectors": len(rejection.machine.support),
        "network_ms": round(1e3 * float(np.median(network)), 3),
        "machine_ms": round(1e3 * float(np.median(machine)), 3),
    }


@dataclass(frozen=True)
class Setting:
    """A defense and NR's threshold, which the others do not have."""

    defense: str
    threshold: float = 0.0

    def commands(self, clips: pd.DataFrame) -> pd.Series[str]:
        """What it accepts each clip as, "" where it abstains. Two defenses must accept the same command."""
        first, _, second = self.defense.partition(" + ")
        said: pd.Series[str] = clips[f"{first}: said"]
        if first in NR.values():
            said = said.where(clips[f"{first}: sure"] >= self.threshold, "")
        return said.where(said == clips[f"{second}: said"], "") if second else said

    def __str__(self) -> str:
        return f"{self.defense}, threshold {self.threshold:g}" if self.threshold else self.defense


def settings_of(defense: str) -> list[Setting]:
    return [Setting(defense, t) for t in THRESHOLDS] if defense.startswith("NR") else [Setting(defense)]


def accuracy(setting: Setting, clips: pd.DataFrame) -> float:
    """Of the digits, the share that is accepted as what it is."""
    is_digit = clips["heard"] == ""
    return float((setting.commands(clips) == clips["command"])[is_digit].mean())


def accepted(setting: Setting, clips: pd.DataFrame) -> float:
    """The share of clips that is accepted as a command."""
    return float((setting.commands(clips) != "").mean())


def chosen(defense: str, validation: pd.DataFrame) -> Setting:
    """The most accurate of the settings that accept few enough validation words; the strictest where none does."""
    words = validation[validation["heard"] == UNSEEN]
    settings = settings_of(defense)
    few = [s for s in settings if accepted(s, words) <= MOST_ACCEPTED]
    return max(few, key=lambda s: accuracy(s, validation)) if few else settings[-1]


def affordable(defense: str, validation: pd.DataFrame, least: float) -> Setting:
    """The strictest of the settings that understand so many of the validation digits; the laxest where none does."""
    settings = settings_of(defense)
    enough = [s for s in settings if accuracy(s, validation) >= least]
    return enough[-1] if enough else settings[0]


def report(clips: pd.DataFrame, costs: list[dict[str, Any]], recipe: Recipe) -> None:
    """Print what is accepted under each defense, and write it down."""
    validation, test = clips[clips["split"] == "validation"], clips[clips["split"] == "test"]
    digits = test[test["heard"] == ""]
    plain = float((digits["without_unknown"] == digits["command"]).mean())
    words = test[test["heard"] == UNSEEN]
    measured = [{k: v for k, v in cost.items() if k != "recipe"} for cost in costs]
    least = max(accuracy(s, validation) for s in settings_of(NONE)) - MOST_LOST
    rules = {
        f"at most {MOST_ACCEPTED:.0%} of the validation words": {d: chosen(d, validation) for d in DEFENSES},
        f"at most {MOST_LOST:.0%} of the validation digits lost": {
            d: affordable(d, validation, least) for d in DEFENSES
        },
    }
    results: dict[str, Any] = {
        "recipe": recipe.model_dump(mode="json"),
        "trained_on": asdict(TRAINED_ON),
        "measured_on": asdict(MEASURED_ON),
        "sigma": SIGMA,
        "draws": DRAWS,
        "folds": sorted(int(f) for f in set(clips["fold"])),
        "test_clips": {"digits": len(digits), **{h: int((test["heard"] == h).sum()) for h in HEARD}},
        "validation_words": int((validation["heard"] == UNSEEN).sum()),
        "accuracy_without_unknown": round(plain, 4),
        "neural_rejection": measured,
        "sweep": {
            d: {f"{s.threshold:g}": [round(accuracy(s, test), 4), round(accepted(s, words), 4)] for s in settings_of(d)}
            for d in DEFENSES
        },
        "rules": {
            rule: {d: {"threshold": s.threshold, **_figures(s, test)} for d, s in of.items()}
            for rule, of in rules.items()
        },
    }
    console = Console(width=130)
    for rule, of in rules.items():
        title = f"accepted, %, with {rule}; digits understood without unknown: {100 * plain:.1f} %"
        table = Table("defense", "threshold", "digits understood", *HEARD, title=title)
        for defense, setting in of.items():
            shares = [100 * accepted(setting, test[test["heard"] == h]) for h in HEARD]
            understood = 100 * accuracy(setting, test)
            table.add_row(defense, f"{setting.threshold:g}", f"{understood:.1f}", *(f"{s:.1f}" for s in shares))
        console.print(table)
    best = _best(rules[next(iter(rules))].values(), validation)
    sweep = Table("threshold", *DEFENSES, title="digits understood / unseen words accepted, %, by NR's threshold")
    for threshold in SHOWN:
        pairs = ((accuracy(s, test), accepted(s, words)) for s in (Setting(d, threshold) for d in DEFENSES))
        sweep.add_row(f"{threshold:g}", *(f"{100 * a:.1f} / {100 * b:.1f}" for a, b in pairs))
    console.print(sweep)
    abating = Table("score", "digits", *HEARD, title=f"rejected, %, below {ABATING}, by NR that knows no unknown")
    kinds = {"digits": digits, **{h: test[test["heard"] == h] for h in HEARD}}
    rejected = {
        name: {k: round(float((rows[f"without unknown, {name}"] < ABATING).mean()), 4) for k, rows in kinds.items()}
        for name in NR.values()
    }
    for name, shares in rejected.items():
        abating.add_row(name, *(f"{100 * share:.1f}" for share in shares.values()))
    console.print(abating)
    groups = Table("group", "clips", *DEFENSES, title="unseen words and pseudo-words accepted, %, by group")
    strange = test[test["heard"].isin([UNSEEN, str(Kind.PSEUDO_WORD)])]
    for attribute in ATTRIBUTES:
        for group, part in strange.groupby(attribute):
            cells = (f"{100 * accepted(s, part):.1f}" for s in rules[next(iter(rules))].values())
            groups.add_row(f"{attribute} {group}", str(len(part)), *cells)
    console.print(groups)
    by_word = (best.commands(words) != "").groupby(words[SOUND]).mean().sort_values()
    console.print(f"{best}, unseen words accepted: {', '.join(f'{w} {100 * s:.0f} %' for w, s in by_word.items())}")
    for fold, cost in zip(results["folds"], measured, strict=True):
        console.print(f"fold {fold}: {cost}")
    lost = plain - accuracy(best, test)
    finish(
        "unknown",
        results
        | {
            "rejected_without_unknown": rejected,
            "chosen": str(best),
            "by_word": {str(w): round(float(s), 4) for w, s in by_word.items()},
        },
        [
            Goal(f"unseen words accepted, {best}", accepted(best, words), MOST_ACCEPTED, at_least=False),
            Goal(f"accuracy lost on digits, {best}", lost, MOST_LOST, at_least=False),
        ],
    )


def _best(settings: Iterable[Setting], validation: pd.DataFrame) -> Setting:
    """The most accurate of those that accept few enough validation words; where none does, that which accepts least."""
    words = validation[validation["heard"] == UNSEEN]
    few = [s for s in settings if accepted(s, words) <= MOST_ACCEPTED]
    if few:
        return max(few, key=lambda s: accuracy(s, validation))
    return min(settings, key=lambda s: accepted(s, words))


def _figures(setting: Setting, test: pd.DataFrame) -> dict[str, Any]:
    strange = test[test["heard"].isin([UNSEEN, str(Kind.PSEUDO_WORD)])]
    return {
        "accuracy": round(accuracy(setting, test), 4),
        "accepted": {h: round(accepted(setting, test[test["heard"] == h]), 4) for h in HEARD},
        "accepted_by_corpus": {
            name: round(accepted(setting, rows), 4)
            for name, rows in test[test["heard"] == UNSEEN].groupby(test["path"].map(lambda p: Path(p).parts[-3]))
        },
        "accepted_by_group": {
            f"{a} {group}": round(accepted(setting, rows), 4) for a in ATTRIBUTES for group, rows in strange.groupby(a)
        },
    }


if __name__ == "__main__":
    main()
