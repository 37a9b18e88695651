"""The votes of a mode: what is fast depends on the network and the machine."""

from __future__ import annotations

from typing import Any

import torch

from recognizer.mode import Mode
from recognizer.network import M5, POOL, Network
from recognizer.smoothing.bank import BANK_ROWS, BankVoting
from recognizer.smoothing.inference import FoldedM5
from recognizer.smoothing.voting import KeyedVoting, Voting

LARGEST_ROW = 256 << 10
"""Bytes of one bank row's responses up to which a bank pays: reading them must be cheaper than computing them."""


def voting_of(
    network: Network, mode: Mode, *, sigma: float, samples: int, seed: int, rows: int = BANK_ROWS
) -> Voting[Any]:
    """The votes of a network in a mode.

    *Fast* is a bank of noise where the responses of a row are small (M5-small); bfloat16 where the device multiplies
    in it; otherwise it is *exact*.

    Args:
        network: in evaluation mode.
        mode: exact or fast.
        sigma: raw amplitude.
        samples: of a clip.
        seed, rows: of a bank; see `BankVoting`.
    """
    if mode is Mode.EXACT:
        return KeyedVoting(network, sigma=sigma)
    if type(network) is M5 and not network.config.tricks:
        row = 4 * POOL * FoldedM5(network).frames_pooled(samples) * network.config.width
        if row <= LARGEST_ROW:
            return BankVoting(network, sigma=sigma, samples=samples, seed=seed, rows=rows)
    device = next(network.parameters()).device
    return KeyedVoting(network, sigma=sigma, precision=torch.bfloat16 if has_bfloat16(device) else torch.float32)


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies in bfloat16; a processor without the instructions is slower at it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16"))
