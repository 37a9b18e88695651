"""Attacks on recognisers: training hardens with them, audits and studies measure with them."""

from recognizer.attacks.adversarial import Adversarial
from recognizer.attacks.against_rejection import CauseRejection, EvadeNeuralRejection, EvadeSmoothing
from recognizer.attacks.black_box import random_noise_attack, rays_attack, square_attack
from recognizer.attacks.evade import EvadeCombined, ThroughPurifiers, evade
from recognizer.attacks.health import check_health
from recognizer.attacks.objectives import Aim, Misclassify, Objective, frozen
from recognizer.attacks.pgd import pgd
from recognizer.attacks.pitfalls import Finding, Pitfall
from recognizer.attacks.sweep import EPS_GRID, Confirm, Level, nested_sweep, paper_sweep, snr_db

__all__ = [
    "EPS_GRID",
    "Adversarial",
    "Aim",
    "CauseRejection",
    "Confirm",
    "EvadeCombined",
    "EvadeNeuralRejection",
    "EvadeSmoothing",
    "Finding",
    "Level",
    "Misclassify",
    "Objective",
    "Pitfall",
    "ThroughPurifiers",
    "check_health",
    "evade",
    "frozen",
    "nested_sweep",
    "paper_sweep",
    "pgd",
    "random_noise_attack",
    "rays_attack",
    "snr_db",
    "square_attack",
]
