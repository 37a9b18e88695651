"""One site of two gateways, whose start is what costs, and each balancer that is installed."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "records"))

from balancers import Balancer, Papers, is_here
from postgres import NoPostgres, Postgres
from replicated import Site


@pytest.fixture(scope="session")
def own_address() -> str:
    """One of this machine's that is not the loopback's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


@pytest.fixture(scope="session")
def papers(tmp_path_factory: pytest.TempPathFactory, own_address: str) -> Papers:
    return Papers.issued(tmp_path_factory.mktemp("papers"), "127.0.0.1", own_address)


@pytest.fixture(scope="session")
def site(bundle: Path, papers: Papers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if not (is_here("nginx") or is_here("haproxy")):
        pytest.skip("neither nginx nor HAProxy here; apt install nginx haproxy")
    try:
        postgres = Postgres.begin()
    except NoPostgres as error:
        pytest.skip(str(error))
    site = Site(tmp_path_factory.mktemp("site"), postgres, postgres.new_database())
    try:
        site.begin(bundle, papers)
        yield site
    finally:
        site.end()
        postgres.remove()


@pytest.fixture(params=["nginx", "haproxy"])
def balancer(request: pytest.FixtureRequest, site: Site) -> Balancer:
    if request.param not in site.balancers:
        pytest.skip(f"no {request.param} here; apt install {request.param}")
    return site.balancers[request.param]
