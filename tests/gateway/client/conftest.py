"""Both clients."""

from __future__ import annotations

import pytest
from hostile import Robot


@pytest.fixture(params=["sync", "async"])
def robot(request: pytest.FixtureRequest) -> Robot:
    return Robot(request.param)
