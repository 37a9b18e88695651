"""Neural rejection against scikit-learn, at its threshold, and far from everything it knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from torch import Tensor

from monitoring.scores import rejection_score
from recognizer.decision import UNKNOWN, Decision, Reason
from recognizer.defense import NetworkError
from recognizer.network import M5, Architecture
from recognizer.neural_rejection import NeuralRejection, Score, SupportVectorMachine
from training.rejection import export_machine, fit_pipeline

Array = NDArray[np.float64]
LABELS = ("go", "left", "right", UNKNOWN)
FEATURES = 6
SAMPLES = 600


def blobs(clips: int, spread: float = 0.8) -> tuple[Array, NDArray[np.int64]]:
    """Overlapping classes whose features have very different scales."""
    rng = np.random.default_rng(1)
    targets = np.arange(clips) % len(LABELS)
    centres = rng.normal(size=(len(LABELS), FEATURES))
    features = (centres[targets] + rng.normal(0, spread, (clips, FEATURES))) * np.logspace(-2, 2, FEATURES) + 3
    return features, targets


@pytest.fixture(scope="module")
def fitted() -> CalibratedClassifierCV:
    features, targets = blobs(160)
    return fit_pipeline(features, targets, [f"speaker {i // 4 % 10}" for i in range(160)])


@pytest.fixture(scope="module")
def machine(fitted: CalibratedClassifierCV) -> SupportVectorMachine:
    return export_machine(fitted)


@pytest.fixture(scope="module")
def network() -> M5:
    torch.manual_seed(0)
    return M5(Architecture(labels=len(LABELS), width=4, last_width=FEATURES, stride=1)).eval()


@pytest.fixture(scope="module")
def heard() -> Array:
    """Features near, between and beyond the classes."""
    near, _ = blobs(80, spread=2.0)
    rng = np.random.default_rng(2)
    return np.concatenate([near, rng.normal(0, 50, (40, FEATURES))])


def abating(machine: SupportVectorMachine) -> Array:
    """The probabilities where every kernel has died away: calibration of the intercepts alone."""
    slope, offset, intercept = (t.numpy() for t in (machine.slope, machine.offset, machine.intercept))
    each = 1 / (1 + np.exp(slope * intercept + offset))
    return np.asarray(each / each.sum())


def away(machine: SupportVectorMachine, distance: float) -> Tensor:
    """Features at so many standard deviations from the training clips' mean, in 20 directions."""
    ways = torch.randn(20, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return machine.mean + distance * machine.scale * torch.nn.functional.normalize(ways, dim=1)


def test_scores_are_scikit_learns_decision_values(
    fitted: CalibratedClassifierCV, machine: SupportVectorMachine, heard: Array
) -> None:
    expected = fitted.calibrated_classifiers_[0].estimator.decision_function(heard)
    np.testing.assert_allclose(machine.scores(torch.from_numpy(heard)), expected, atol=1e-5)


def test_probabilities_are_scikit_learns(
    fitted: CalibratedClassifierCV, machine: SupportVectorMachine, heard: Array
) -> None:
    probabilities = machine.probabilities(torch.from_numpy(heard)).numpy()
    np.testing.assert_allclose(probabilities, fitted.predict_proba(heard), atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_float32_features_change_the_probabilities_by_no_more_than_their_rounding(
    machine: SupportVectorMachine, heard: Array
) -> None:
    exact = machine.probabilities(torch.from_numpy(heard))
    rounded = machine.probabilities(torch.from_numpy(heard.astype(np.float32)))
    assert rounded.dtype == torch.float64
    torch.testing.assert_close(rounded, exact, rtol=0, atol=1e-3)


@pytest.mark.parametrize("distance", [1e4, 1e6, 1e12])
def test_far_from_everything_the_probabilities_are_the_abating_ones(
    machine: SupportVectorMachine, distance: float
) -> None:
    """Calibration maps the dead kernels' scores to one fixed vector, and not to zero or to equal shares."""
    far = machine.probabilities(away(machine, distance))
    np.testing.assert_allclose(far, np.tile(abating(machine), (20, 1)), atol=1e-12)


def test_going_away_never_ends_in_more_confidence_than_the_abating_value(machine: SupportVectorMachine) -> None:
    limit = abating(machine).max()
    assert limit < 0.5  # this far the default threshold abstains
    near = machine.probabilities(torch.from_numpy(blobs(80)[0])).max(dim=1).values
    assert float(near.median()) > limit
    for distance in (100, 300, 1000):
        far = machine.probabilities(away(machine, distance)).max(dim=1).values
        assert float(far.max()) <= limit + 1e-9


def test_far_from_everything_the_margins_are_the_intercepts(machine: SupportVectorMachine) -> None:
    np.testing.assert_allclose(machine.scores(away(machine, 1e6)), machine.intercept.expand(20, -1), atol=1e-12)


# Decisions


def clip(seed: int = 0, clips: int = 1) -> Tensor:
    return 0.1 * torch.randn(clips, SAMPLES, generator=torch.Generator().manual_seed(seed))


def fixed(probabilities: list[float]) -> SupportVectorMachine:
    """A machine without support vectors that gives the same probabilities to everything."""
    each = torch.tensor(probabilities, dtype=torch.float64)
    count = len(each)
    return SupportVectorMachine(
        mean=torch.zeros(FEATURES, dtype=torch.float64),
        scale=torch.ones(FEATURES, dtype=torch.float64),
        support=torch.zeros(0, FEATURES, dtype=torch.float64),
        dual=torch.zeros(count, 0, dtype=torch.float64),
        intercept=torch.logit(each),
        gamma=torch.tensor(1.0, dtype=torch.float64),
        slope=-torch.ones(count, dtype=torch.float64),
        offset=torch.zeros(count, dtype=torch.float64),
    )


def test_confidence_equal_to_the_threshold_accepts(network: M5) -> None:
    machine = fixed([0.25, 0.5, 0.125, 0.125])
    accepts = NeuralRejection(network, machine, LABELS, confidence_threshold=0.5)
    (decision,) = accepts.decide(clip(), clip_ids=["clip"], seed=0)
    assert (decision.command, decision.confidence) == ("left", 0.5)
    stricter = NeuralRejection(network, machine, LABELS, confidence_threshold=float(np.nextafter(0.5, 1)))
    (decision,) = stricter.decide(clip(), clip_ids=["clip"], seed=0)
    assert (decision.command, decision.reason) == (None, Reason.LOW_CONFIDENCE)
    assert "0.500 < confidence_threshold = 0.5" in decision.detail


def test_a_sure_unknown_is_no_command_and_an_unsure_one_has_low_confidence(network: M5) -> None:
    for threshold, reason in ((0.6, Reason.NOT_A_COMMAND), (0.8, Reason.LOW_CONFIDENCE)):
        rejection = NeuralRejection(network, fixed([0.1, 0.1, 0.1, 0.7]), LABELS, confidence_threshold=threshold)
        (decision,) = rejection.decide(clip(), clip_ids=["clip"], seed=0)
        assert (decision.command, decision.reason) == (None, reason)


# Margins


def of_margins(margins: list[float]) -> SupportVectorMachine:
    """A machine without support vectors that gives the same margins to everything."""
    return replace(fixed([0.25, 0.25, 0.25, 0.25]), intercept=torch.tensor(margins, dtype=torch.float64))


def decided(network: M5, margins: list[float], threshold: float) -> Decision:
    rejection = NeuralRejection(
        network, of_margins(margins), LABELS, confidence_threshold=threshold, score=Score.MARGIN
    )
    (decision,) = rejection.decide(clip(), clip_ids=["clip"], seed=0)
    return decision


def test_a_margin_equal_to_the_threshold_accepts_as_melis_rule_does(network: M5) -> None:
    accepted = decided(network, [-0.5, 0.5, -1.0, -2.0], 0.5)
    assert (accepted.command, accepted.confidence) == ("left", 0.5)
    assert accepted.detail == "margin = 0.500 >= confidence_threshold = 0.5"
    refused = decided(network, [-0.5, 0.5, -1.0, -2.0], float(np.nextafter(0.5, 1)))
    assert (refused.command, refused.reason) == (None, Reason.LOW_CONFIDENCE)
    assert refused.detail.startswith("margin = 0.500 < confidence_threshold")


def test_where_every_machine_says_no_even_a_threshold_of_0_abstains(network: M5) -> None:
    decision = decided(network, [-0.9, -0.1, -0.2, -0.3], 0.0)
    assert (decision.reason, decision.confidence) == (Reason.LOW_CONFIDENCE, 0.0)
    assert decision.top[0].command == "left"


def test_margins_beyond_1_are_shown_as_1_and_the_largest_still_leads(network: M5) -> None:
    decision = decided(network, [1.2, 0.4, 1.7, -3.0], 1.0)
    assert decision.command == "right"
    assert [(c.command, c.share) for c in decision.top] == [("right", 1.0), ("go", 1.0), ("left", 0.4)]
    assert decision.detail == "margin = 1.700 >= confidence_threshold = 1"


def test_a_margin_for_unknown_is_no_command(network: M5) -> None:
    assert decided(network, [0.1, 0.1, 0.1, 1.4], 0.5).reason is Reason.NOT_A_COMMAND


@pytest.mark.parametrize("margin", [-2.0, -0.1, 0.2004, 0.77, 1.0, 1.4])
def test_auc_fpr_of_margins_is_the_sweep_over_a_thousand_thresholds(network: M5, margin: float) -> None:
    alphas = np.arange(1, 1001) / 1000
    score = rejection_score(decided(network, [-3.0, margin, -3.0, -3.0], 0.5))
    assert score == pytest.approx(np.trapezoid((margin < alphas).astype(float), alphas), abs=0.001 + 1e-9)


def test_decides_by_scikit_learns_decision_values(
    network: M5, fitted: CalibratedClassifierCV, machine: SupportVectorMachine
) -> None:
    waveforms = clip(clips=100)
    with torch.inference_mode():
        features = network.features(waveforms).double()
    near = replace(machine, mean=machine.mean + features.mean(dim=0))  # so that the clips lie among its data
    shift = features.mean(dim=0).numpy()
    expected = fitted.calibrated_classifiers_[0].estimator.decision_function(features.numpy() - shift)
    rejection = NeuralRejection(network, near, LABELS, confidence_threshold=0.0, score=Score.MARGIN)
    decisions = rejection.decide(waveforms, clip_ids=[""] * 100, seed=0)
    for row, decision in zip(expected, decisions, strict=True):
        leader = LABELS[int(row.argmax())]
        assert decision.confidence == pytest.approx(min(max(row.max(), 0), 1), abs=1e-5)
        assert decision.top[0].command == leader
        assert decision.command == (leader if row.max() >= 0 and leader != UNKNOWN else None)


# Far from its data


def test_far_from_data_is_what_it_decides_of_a_clip_far_from_data(network: M5, machine: SupportVectorMachine) -> None:
    moved = replace(machine, mean=machine.mean + 1e9)
    for score in Score:
        rejection = NeuralRejection(network, moved, LABELS, confidence_threshold=0.3, score=score)
        (decision,) = rejection.decide(clip(), clip_ids=["clip"], seed=0)
        assert rejection.far_from_data() == decision


def test_calibration_can_destroy_the_abating_and_margins_can_not(network: M5) -> None:
    """Every machine says no to what is far away, and of four small probabilities one is made the large one."""
    machine = replace(
        of_margins([-0.9, -0.9, -0.9, -0.9]),
        slope=-torch.tensor([1.0, 9.0, 9.0, 9.0], dtype=torch.float64),
    )
    calibrated = NeuralRejection(network, machine, LABELS, confidence_threshold=0.5).far_from_data()
    each = [1 / (1 + np.exp(0.9 * slope)) for slope in (1, 9, 9, 9)]
    assert calibrated.command == "go"
    assert calibrated.confidence == pytest.approx(each[0] / sum(each))
    margins = NeuralRejection(network, machine, LABELS, confidence_threshold=0.0, score=Score.MARGIN)
    assert margins.far_from_data().reason is Reason.LOW_CONFIDENCE


@pytest.mark.parametrize("threshold", [-0.001, 1.001, float("nan")])
def test_refuses_a_threshold_that_is_no_probability(
    network: M5, machine: SupportVectorMachine, threshold: float
) -> None:
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        NeuralRejection(network, machine, LABELS, confidence_threshold=threshold)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_takes_the_ends_of_the_thresholds(network: M5, machine: SupportVectorMachine, threshold: float) -> None:
    rejection = NeuralRejection(network, machine, LABELS, confidence_threshold=threshold)
    decisions = rejection.decide(clip(clips=20), clip_ids=[""] * 20, seed=0)
    low = [d.reason is Reason.LOW_CONFIDENCE for d in decisions]
    assert all(low) if threshold else not any(low)


def test_decides_by_scikit_learn_on_the_networks_features(
    network: M5, fitted: CalibratedClassifierCV, machine: SupportVectorMachine
) -> None:
    waveforms = clip(clips=300)  # more than a batch
    with torch.inference_mode():
        expected = fitted.predict_proba(network.features(waveforms).double().numpy())
    rejection = NeuralRejection(network, machine, LABELS, confidence_threshold=0.4)
    decisions = rejection.decide(waveforms, clip_ids=[""] * 300, seed=0)
    for row, decision in zip(expected, decisions, strict=True):
        leader = LABELS[int(row.argmax())]
        assert decision.confidence == pytest.approx(row.max(), abs=1e-5)
        assert decision.top[0].command == leader
        assert decision.command == (leader if row.max() >= 0.4 and leader != UNKNOWN else None)


@pytest.mark.parametrize("name", ["mean", "scale", "support", "dual", "intercept", "gamma", "slope", "offset"])
def test_a_machine_with_nan_decides_nothing(network: M5, machine: SupportVectorMachine, name: str) -> None:
    broken = replace(machine, **{name: torch.full_like(getattr(machine, name), torch.nan)})
    rejection = NeuralRejection(network, broken, LABELS, confidence_threshold=0.0)
    with pytest.raises(NetworkError):
        rejection.decide(clip(), clip_ids=["clip"], seed=0)


def test_a_network_with_nan_decides_nothing(machine: SupportVectorMachine) -> None:
    broken = M5(Architecture(labels=len(LABELS), width=4, last_width=FEATURES, stride=1))
    torch.nn.init.constant_(broken.blocks[-4].bias, torch.nan)  # type: ignore[arg-type]
    rejection = NeuralRejection(broken, machine, LABELS, confidence_threshold=0.0)
    with pytest.raises(NetworkError):
        rejection.decide(clip(), clip_ids=["clip"], seed=0)


@pytest.mark.parametrize("name", ["mean", "scale", "support", "dual", "intercept", "gamma", "slope", "offset"])
def test_refuses_a_machine_of_another_shape(network: M5, machine: SupportVectorMachine, name: str) -> None:
    tensor = getattr(machine, name)
    for other in (tensor.new_zeros(3), tensor.new_zeros(7, 5), tensor.new_zeros(*tensor.shape, 1)):
        broken = replace(machine, **{name: other})
        with pytest.raises(ValueError, match="does not fit"):
            NeuralRejection(network, broken, LABELS, confidence_threshold=0.5)


def test_refuses_a_machine_for_other_labels(network: M5, machine: SupportVectorMachine) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        NeuralRejection(network, machine, LABELS[:3], confidence_threshold=0.5)
