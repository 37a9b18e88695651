"""The Silero voice-activity network in NumPy, with the weights that the wheel `silero-vad` ships.

A network of 0.7 M multiply-adds a block is quicker without torch's dispatch, holds no state but what it is handed, and
leaves torch's threads to the recogniser: importing `silero_vad` would set their number to one for the whole process.

Source: github.com/snakers4/silero-vad, version 6; the module `_model` (16 kHz) of `silero_vad.jit`.
"""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import expit

Array: TypeAlias = npt.NDArray[np.float32]

BLOCK = 512  # samples at 16 kHz: 32 ms
CONTEXT = 64  # samples before a block that it is heard with
UNITS = 128  # of the recurrent layer
_FRAME, _HOP, _BINS = 256, 128, 129  # of the Fourier transform
_STRIDES = (1, 2, 2, 1)  # of the convolutions


class DetectorUnavailable(RuntimeError):
    """The network's weights are not where they are expected; the message says what to install."""


@dataclass(frozen=True)
class State:
    """What the network remembers of one stream: hidden and cell, float32 [UNITS] each."""

    hidden: Array
    cell: Array

    @classmethod
    def empty(cls) -> State:
        return cls(np.zeros(UNITS, np.float32), np.zeros(UNITS, np.float32))


@dataclass(frozen=True)
class SileroNetwork:
    """The weights, each as the matrix that it is multiplied as; shared by all streams."""

    fourier: Array
    """[2 * _BINS, _FRAME] windowed cosines, then sines"""
    kernels: tuple[Array, ...]
    """[outputs, 3 * inputs] each"""
    biases: tuple[Array, ...]
    """[outputs, 1] each"""
    recurrent: Array
    """[4 * UNITS, inputs + UNITS]: input, forget, cell and output gate of a long short-term memory"""
    recurrent_bias: Array
    last: Array
    """[UNITS]"""
    last_bias: float

    def step(self, samples: Array, state: State) -> tuple[float, State]:
        """The probability that a block holds speech, and what is remembered of it.

        Args:
            samples: float32 [CONTEXT + BLOCK] at 16 kHz.
        """
        padded = np.concatenate((samples, samples[-2 : -2 - CONTEXT : -1]))  # mirrored at its end
        frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP]
        spectrum = self.fourier @ frames.T
        values = np.sqrt(np.square(spectrum[:_BINS]) + np.square(spectrum[_BINS:]))
        for kernel, bias, stride in zip(self.kernels, self.biases, _STRIDES, strict=True):
            values = np.maximum(kernel @ _neighbours(values, stride) + bias, 0)
        gates = self.recurrent @ np.concatenate((values[:, 0], state.hidden)) + self.recurrent_bias
        opened = _sigmoid(gates)
        take, keep, show = opened[:UNITS], opened[UNITS : 2 * UNITS], opened[3 * UNITS :]
        cell = keep * state.cell + take * np.tanh(gates[2 * UNITS : 3 * UNITS])
        hidden = show * np.tanh(cell)
        score = self.last @ np.maximum(hidden, 0) + self.last_bias
        return float(_sigmoid(score)), State(hidden, cell)


@cache
def load_network() -> SileroNetwork:
    """The wheel's network, read once a process.

    Raises:
        DetectorUnavailable: the wheel is missing, or holds another network.
    """
    path = _model_file()
    try:
        weights = _weights(path)
        kernels = [weights[f"encoder.{i}.reparam_conv.weight"] for i in range(len(_STRIDES))]
        network = SileroNetwork(
            fourier=np.ascontiguousarray(weights["stft.forward_basis_buffer"][:, 0]),
            kernels=tuple(np.ascontiguousarray(k.transpose(0, 2, 1).reshape(len(k), -1)) for k in kernels),
            biases=tuple(weights[f"encoder.{i}.reparam_conv.bias"][:, None] for i in range(len(_STRIDES))),
            recurrent=np.concatenate((weights["decoder.rnn.weight_ih"], weights["decoder.rnn.weight_hh"]), axis=1),
            recurrent_bias=weights["decoder.rnn.bias_ih"] + weights["decoder.rnn.bias_hh"],
            last=weights["decoder.decoder.2.weight"].reshape(-1),
            last_bias=float(weights["decoder.decoder.2.bias"][0]),
        )
        network.step(np.zeros(CONTEXT + BLOCK, np.float32), State.empty())
    except (AttributeError, KeyError, ValueError, IndexError, RuntimeError) as error:
        raise DetectorUnavailable(
            f"{path} holds another network than that of silero-vad 6 ({error}); run pip install 'silero-vad>=6.2,<7'"
        ) from None
    return network


def _model_file() -> Path:
    """The wheel's file, found without importing the wheel."""
    wheel = importlib.util.find_spec("silero_vad")
    if wheel is None or not wheel.submodule_search_locations:
        raise DetectorUnavailable("speech is found by silero-vad, which is not installed; run pip install silero-vad")
    path = Path(next(iter(wheel.submodule_search_locations)), "data", "silero_vad.jit")
    if not path.is_file():
        raise DetectorUnavailable(f"{path} is missing; run pip install --force-reinstall 'silero-vad>=6.2,<7'")
    return path


def _weights(path: Path) -> dict[str, Array]:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit is on its way out, but it is what the wheel ships
        module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    return {name: tensor.numpy() for name, tensor in module._model.state_dict().items()}


def _neighbours(values: Array, stride: int) -> Array:
    """[channels, times] -> [3 * channels, times / stride]: each time with the one before and after it, zero outside."""
    padded = np.zeros((values.shape[0], values.shape[1] + 2), np.float32)
    padded[:, 1:-1] = values
    last = values.shape[1]
    return np.concatenate([padded[:, i : i + last : stride] for i in range(3)])


def _sigmoid(x: Array) -> Array:
    return np.asarray(expit(x), np.float32)
