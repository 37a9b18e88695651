"""Randomized smoothing (RS): its statistics, its noise, its votes, and the defense they make."""

from recognizer.smoothing.bank import BankVoting
from recognizer.smoothing.defense import CertifiedRadius, RandomizedSmoothing, check_settings
from recognizer.smoothing.fast import voting_of
from recognizer.smoothing.noise import noise
from recognizer.smoothing.vote import Counts, InfeasibleSmoothing, VoteRule, Votes, VoteTest, lower_bound, p_value
from recognizer.smoothing.voting import KeyedVoting, Voting

__all__ = [
    "BankVoting",
    "CertifiedRadius",
    "Counts",
    "InfeasibleSmoothing",
    "KeyedVoting",
    "RandomizedSmoothing",
    "VoteRule",
    "VoteTest",
    "Votes",
    "Voting",
    "check_settings",
    "lower_bound",
    "noise",
    "p_value",
    "voting_of",
]
