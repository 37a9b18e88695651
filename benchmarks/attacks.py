"""Our attacks beside those of other libraries, in one run: `python -m benchmarks.attacks SPEECH`.

Needs the extra `bench` in a virtual environment of its own: `make bench-attacks SPEECH=FOLDER` makes one. One M5-small,
trained for a few epochs on real digits, is attacked on the same clips with the same radii, steps and step sizes by our
nested sweep, our independent runs, torchattacks' PGD (its inputs mapped to [0, 1], to which it clamps) and foolbox's;
then one epoch of adversarial training on the same clips is timed against ART's AdversarialTrainerMadryPGD. All start
at the clip. Each takes its turn `--rounds` times, and the fastest turn counts.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import foolbox
import numpy as np
import torch
import torchattacks
from art.defences.trainer import AdversarialTrainerMadryPGD
from art.estimators.classification import PyTorchClassifier
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.goals import Goal, finish
from benchmarks.recognizer import real_digits, split_of
from recognizer.attacks import EPS_GRID, Misclassify, nested_sweep, paper_sweep
from recognizer.audio import AudioFormat
from recognizer.bundle import AudioSpec
from recognizer.network import M5, predict_logits
from training.corpora.audiomnist import DIGITS
from training.dataset import ClipSet, load_clips
from training.hardening import fit_network
from training.recipe import paper_recipe, strong_recipe

STEPS = 100
TRAINING_EPS, TRAINING_STEPS = 0.01, 10
BATCH = 64


class FromUnitRange(nn.Module):
    """The network on clips that were mapped from [-1, 1] to [0, 1]."""

    def __init__(self, network: M5) -> None:
        super().__init__()
        self.network = network

    def forward(self, mapped: Tensor) -> Tensor:
        logits: Tensor = self.network(2 * mapped - 1)
        return logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--clips", type=int, default=64, help="attacked by each")
    parser.add_argument("--training-clips", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=20, help="of the attacked network's training")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()

    manifest, is_certain = real_digits(arguments.speech)
    divided = split_of(manifest, is_certain, fold=0)
    audio = AudioFormat(**AudioSpec().model_dump())
    training, validation, test = (load_clips(divided.split(s), DIGITS, audio) for s in ("train", "validation", "test"))
    recipe = strong_recipe(epochs=arguments.epochs, clips_a_speaker=40)
    network = fit_network(training, validation, len(DIGITS), recipe, sample_rate=audio.sample_rate).network
    attacked = first(test, arguments.clips)
    waveforms, labels = attacked.waveforms, attacked.targets

    sweeps = compare_sweeps(network, waveforms, labels, arguments.rounds)
    speeds = compare_training(network, first(training, arguments.training_clips), validation, arguments.rounds)
    ours = sweeps["evenvoice, nested"]
    peers = {name: sweeps[name] for name in ("torchattacks", "foolbox")}
    excess = max(mine - theirs[1][k] for theirs in peers.values() for k, mine in enumerate(ours[1]))
    finish(
        "attacks",
        {
            "clips": len(labels),
            "speakers": int(attacked.manifest.table["speaker"].nunique()),
            "clean_accuracy": left(network, waveforms, waveforms, labels, 0.0),
            "steps": STEPS,
            "eps": EPS_GRID,
            "sweeps": {n: {"seconds": round(s, 2), "robust_accuracy": a} for n, (s, a) in sweeps.items()},
            "training_clips_a_second": {n: round(v, 1) for n, v in speeds.items()},
        },
        [
            Goal("sweep's share of torchattacks' time", ours[0] / peers["torchattacks"][0], 1 / 3, at_least=False),
            Goal("sweep's share of foolbox's time", ours[0] / peers["foolbox"][0], 1 / 3, at_least=False),
            Goal("robust accuracy above a peer's, the worst of all eps", excess, 0.0, at_least=False),
            Goal("adversarial training, times ART's clips a second", speeds["evenvoice"] / speeds["ART"], 1.5),
        ],
    )


def compare_sweeps(
    network: M5, waveforms: Tensor, labels: Tensor, rounds: int
) -> dict[str, tuple[float, tuple[float, ...]]]:
    """Name -> seconds of the fastest round, and the accuracy that is left at each eps."""

    def ours(sweep: Callable[..., Iterator[object]]) -> Callable[[], list[Tensor]]:
        def run() -> list[Tensor]:
            levels = list(sweep(Misclassify(network), waveforms, labels, eps_grid=EPS_GRID, steps=STEPS, batch=BATCH))
            return [level.adversarial.waveforms for level in levels if level.eps > 0]  # type: ignore[attr-defined]

        return run

    def of_torchattacks() -> list[Tensor]:
        model, mapped, found = FromUnitRange(network).eval(), (waveforms + 1) / 2, []
        for eps in EPS_GRID:
            attack = torchattacks.PGD(model, eps=eps / 2, alpha=eps / 10, steps=STEPS, random_start=False)
            found.append(2 * attack(mapped, labels) - 1)
        return found

    def of_foolbox() -> list[Tensor]:
        model = foolbox.PyTorchModel(network, bounds=(-1, 1), device="cpu")
        attack = foolbox.attacks.LinfPGD(rel_stepsize=0.2, steps=STEPS, random_start=False)
        _, clipped, _ = attack(model, waveforms, labels, epsilons=list(EPS_GRID))
        return list(clipped)

    turns = {
        "evenvoice, nested": ours(nested_sweep),
        "evenvoice, independent": ours(paper_sweep),
        "torchattacks": of_torchattacks,
        "foolbox": of_foolbox,
    }
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    accuracies: dict[str, tuple[float, ...]] = {}
    network.eval()
    for _ in range(rounds):
        for name, turn in turns.items():
            started = time.perf_counter()
            found = turn()
            seconds[name].append(time.perf_counter() - started)
            accuracies[name] = tuple(
                left(network, waveforms, w, labels, e) for w, e in zip(found, EPS_GRID, strict=True)
            )
    clean = left(network, waveforms, waveforms, labels, 0.0)
    table = Table(
        "sweep", "seconds", *(f"{eps:g}" for eps in EPS_GRID), title=f"accuracy left at each eps, of {clean:.3f}"
    )
    for name, found_accuracies in accuracies.items():
        table.add_row(name, f"{min(seconds[name]):.1f}", *(f"{a:.3f}" for a in found_accuracies))
    Console().print(table)
    return {name: (min(seconds[name]), accuracies[name]) for name in turns}


def left(network: M5, clean: Tensor, attacked: Tensor, labels: Tensor, eps: float) -> float:
    """Accuracy on attacked clips, which must lie in the ball and in [-1, 1]."""
    assert float((attacked - clean).abs().max()) <= eps * (1 + 1e-3) + 1e-6
    assert float(attacked.abs().max()) <= 1 + 1e-6
    return float((predict_logits(network, attacked).argmax(dim=1) == labels).double().mean())


def first(clips: ClipSet, count: int) -> ClipSet:
    """So many of the clips, spread over all."""
    chosen = np.linspace(0, len(clips) - 1, count).astype(int)
    keep = np.isin(np.arange(len(clips)), chosen)
    return ClipSet(clips.waveforms[keep], clips.targets[keep], clips.manifest.where(keep.tolist()))


def compare_training(network: M5, training: ClipSet, validation: ClipSet, rounds: int) -> dict[str, float]:
    """Name -> clips a second of one epoch of adversarial training, the fastest round.

    Ours learns from each clip and from its attacked copy; ART's from the copy only, which is less work.
    """
    recipe = paper_recipe(
        architecture="m5-small", epochs=1, batch=BATCH, adversarial_eps=TRAINING_EPS, adversarial_steps=TRAINING_STEPS
    )
    one = first(validation, 2)

    def ours() -> None:
        fit_network(training, one, len(DIGITS), recipe, sample_rate=16_000)

    def of_art() -> None:
        model = copy.deepcopy(network).train()
        classifier = PyTorchClassifier(
            model=model,
            loss=nn.CrossEntropyLoss(),
            optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
            input_shape=(training.waveforms.shape[1],),
            nb_classes=len(DIGITS),
            clip_values=(-1.0, 1.0),
            device_type="cpu",
        )
        trainer = AdversarialTrainerMadryPGD(
            classifier,
            nb_epochs=1,
            batch_size=BATCH,
            eps=TRAINING_EPS,
            eps_step=TRAINING_EPS / 5,
            max_iter=TRAINING_STEPS,
            num_random_init=0,
        )
        trainer.fit(training.waveforms.numpy(), training.targets.numpy())

    seconds: dict[str, list[float]] = {"evenvoice": [], "ART": []}
    for _ in range(rounds):
        for name, turn in (("evenvoice", ours), ("ART", of_art)):
            started = time.perf_counter()
            turn()
            seconds[name].append(time.perf_counter() - started)
    speeds = {name: len(training) / min(taken) for name, taken in seconds.items()}
    table = Table("adversarial training", "clips a second", title=f"{len(training)} clips, one epoch")
    for name, speed in speeds.items():
        table.add_row(name, f"{speed:.0f}")
    Console().print(table)
    return speeds


if __name__ == "__main__":
    main()
