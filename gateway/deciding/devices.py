"""Which device a worker computes on: one process a GPU, or the processor's cores shared out."""

from __future__ import annotations

import os

import torch

from gateway.settings import AUTO


class DeviceError(ValueError):
    """Workers that no device is left for."""


def check_devices(device: str, *, workers: int) -> None:
    """
    Raises:
        DeviceError: more workers than GPUs.
    """
    places = torch.cuda.device_count() if device == AUTO else 1
    is_gpu = torch.cuda.is_available() if device == AUTO else device.startswith("cuda")
    if is_gpu and workers > places:
        raise DeviceError(
            f"{workers} workers would share {places} GPU with device {device}; give a GPU one worker, whose batches "
            "grow with the load"
        )


def device_of(device: str, *, worker: int) -> str:
    """The device of one worker.

    Args:
        device: `auto`, `cpu` or `cuda:N`.
        worker: from 1.
    """
    if device != AUTO:
        return device
    return f"cuda:{worker - 1}" if torch.cuda.is_available() else "cpu"


def share_cores(*, workers: int) -> None:
    """Give this worker its part of the cores, at least one: threads of several workers would wait for each other."""
    if workers > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
