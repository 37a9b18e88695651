"""Which engine does the work of a long command: processes on this machine, or a Ray cluster."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.options import Number, usable_device

if TYPE_CHECKING:
    from recognizer.cluster import Cluster

ENGINES = ("local", "ray")
_SMALLEST = 0.01  # of a CPU or GPU


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options `--engine` and `--ray-...`, for `cluster_of`."""
    options = (
        click.option(
            "--engine",
            type=click.Choice(ENGINES),
            default="local",
            show_default=True,
            is_eager=True,  # before --device, which the machine here need not have then
            help="Processes here, or the nodes of a Ray cluster.",
        ),
        click.option(
            "--ray-address",
            help="HOST:PORT, or ray://HOST:PORT from outside. [default: RAY_ADDRESS, or this machine's cluster, "
            "or one for the time of the command]",
        ),
        click.option("--ray-cpus", type=Number(_SMALLEST), help="That each worker takes of its node. [default: 1]"),
        click.option(
            "--ray-gpus", type=Number(0), help="Likewise; 0.5 has two share one. [default: 1 with a --device, else 0]"
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def device_of_engine(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    """As `usable_device`, but where the nodes of a cluster compute: they try it themselves."""
    return value if ctx.params["engine"] == "ray" else usable_device(ctx, parameter, value)


@contextmanager
def cluster_of(
    *,
    engine: str,
    ray_address: str | None,
    ray_cpus: float | None,
    ray_gpus: float | None,
    workers: int,
    device: str,
) -> Iterator[Cluster | None]:
    """The cluster that a command's options name, until the end of the block; None with the local engine.

    Raises:
        click.UsageError: options of the other engine.
        ClusterError: it can't be had.
    """
    if engine == "local":
        given = {"--ray-address": ray_address, "--ray-cpus": ray_cpus, "--ray-gpus": ray_gpus}
        if strange := [name for name, value in given.items() if value is not None]:
            raise click.UsageError(f"{' and '.join(strange)} without --engine ray")
        yield None
        return
    if workers > 1:
        raise click.UsageError("--workers is of --engine local; a cluster has as many as its CPUs and --ray-cpus allow")
    from recognizer.cluster import Needs, connected

    gpus = float(device != "cpu") if ray_gpus is None else ray_gpus
    with connected(ray_address, Needs(1.0 if ray_cpus is None else ray_cpus, gpus)) as cluster:
        click.echo(f"the cluster has room for {cluster.workers} workers", file=sys.stderr)
        yield cluster
