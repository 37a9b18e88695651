"""Fitting neural rejection with scikit-learn, and exporting it as tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from recognizer.network import Network
from recognizer.neural_rejection import SupportVectorMachine
from training.dataset import ClipSet

FOLDS = 5
ENOUGH_CLIPS, ENOUGH_SPEAKERS = 20, 20
"""Held-out clips of every label, and held-out speakers, from which on the machine is fitted on held-out clips only."""

Features = npt.NDArray[np.float64]
Targets = npt.NDArray[np.int64]
Folds = list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]
"""(clips to fit on, clips left out) a fold, as indices"""


class RejectionError(ValueError):
    """Clips that no rejection machine can be fitted on."""


def features_of(network: Network, clips: ClipSet) -> Features:
    """Penultimate features, float64 [clips, F]."""
    device = next(network.parameters()).device
    network.eval()
    with torch.inference_mode():
        parts = [network.features(part.to(device)).cpu() for part in torch.split(clips.waveforms, 256)]
    return torch.cat(parts).double().numpy()


def choose_clips(training: ClipSet, held_out: ClipSet, labels: int) -> tuple[ClipSet, str]:
    """The clips to fit on: those held out from the network where there are enough of them, else its own.

    A machine fitted on few held-out speakers is theirs alone, and turns everybody else away.

    Returns:
        The clips, and the words for the bundle.
    """
    fewest = int(torch.bincount(held_out.targets, minlength=labels).min())
    speakers = int(held_out.manifest.table["speaker"].nunique())
    if fewest >= ENOUGH_CLIPS and speakers >= ENOUGH_SPEAKERS:
        return held_out, f"{len(held_out)} held-out clips of {speakers} speakers"
    why = f"held out were {speakers} speakers, and of some label {fewest} clips"
    return training, f"{len(training)} training clips ({why})"


def speaker_folds(targets: Targets, speakers: Sequence[str]) -> Folds:
    """The folds that the machine is calibrated over; they keep a speaker together and are fixed.

    Args:
        targets: [clips], labels 0 ... K-1.
        speakers: [clips].

    Raises:
        RejectionError: fewer than 3 labels or 2 speakers, one clip of each label, or a label that is all in one fold.
    """
    labels = int(targets.max()) + 1
    if labels < 3:
        raise RejectionError("neural rejection needs at least 3 labels; add an `unknown` class or other commands")
    most = int(np.bincount(targets).max())  # scikit-learn wants a label with as many clips as folds
    folds = min(FOLDS, len(set(speakers)), most)
    if folds < 2:
        raise RejectionError(
            "neural rejection is calibrated over folds of speakers; at least 2 speakers and 2 clips a label are needed"
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    splits = list(splitter.split(np.zeros((len(targets), 1)), targets, groups=list(speakers)))
    for kept, _ in splits:
        if len(np.unique(targets[kept])) < labels:
            raise RejectionError(
                "some label has clips of one speaker only, or of so few that one fold of speakers holds them all; "
                "neural rejection can't be calibrated"
            )
    return splits


def fit_pipeline(
    features: Features, targets: Targets, speakers: Sequence[str], *, c: float = 1.0
) -> CalibratedClassifierCV:
    """Calibrated one-vs-all RBF machines on standardised features.

    Args:
        features: [clips, F].
        targets: [clips], labels 0 ... K-1.
        speakers: [clips].
        c: SVM penalty.

    Raises:
        RejectionError: see `speaker_folds`.
    """
    splits = speaker_folds(targets, speakers)
    machine = make_pipeline(StandardScaler(), OneVsRestClassifier(SVC(kernel="rbf", C=c, gamma="scale")))
    fitted: CalibratedClassifierCV = CalibratedClassifierCV(machine, method="sigmoid", cv=splits, ensemble=False).fit(
        features, targets
    )
    return fitted


def export_machine(fitted: CalibratedClassifierCV) -> SupportVectorMachine:
    """The fitted pipeline as tensors; equal to scikit-learn's scores but for rounding."""
    (calibrated,) = fitted.calibrated_classifiers_
    scaler, one_vs_rest = calibrated.estimator[0], calibrated.estimator[1]
    machines: list[SVC] = one_vs_rest.estimators_
    vectors = np.concatenate([m.support_vectors_ for m in machines])
    support, position = np.unique(vectors, axis=0, return_inverse=True)
    dual = np.zeros((len(machines), len(support)))
    start = 0
    for k, m in enumerate(machines):
        own = position.reshape(-1)[start : start + len(m.support_vectors_)]
        np.add.at(dual[k], own, m.dual_coef_[0])
        start += len(own)
    tensors = {
        "mean": scaler.mean_,
        "scale": scaler.scale_,
        "support": support,
        "dual": dual,
        "intercept": np.array([m.intercept_[0] for m in machines]),
        "gamma": np.array(machines[0]._gamma),
        "slope": np.array([c.a_ for c in calibrated.calibrators]),
        "offset": np.array([c.b_ for c in calibrated.calibrators]),
    }
    return SupportVectorMachine(**{k: torch.from_numpy(np.asarray(v, dtype=np.float64)) for k, v in tensors.items()})


def check_clips(clips: ClipSet) -> None:
    """Refuse clips that `fit_rejection` would refuse, before there is a network.

    Raises:
        RejectionError: see `speaker_folds`.
    """
    speaker_folds(clips.targets.numpy(), clips.manifest.table["speaker"].tolist())


def fit_rejection(network: Network, clips: ClipSet) -> SupportVectorMachine:
    """Fit on a network's features of some clips.

    Raises:
        RejectionError: see `speaker_folds`.
    """
    speakers = clips.manifest.table["speaker"].tolist()
    return export_machine(fit_pipeline(features_of(network, clips), clips.targets.numpy(), speakers))
