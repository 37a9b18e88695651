"""The little trained network that the attacks' tests share."""

import pytest
from toy_networks import tone_network

from recognizer.network import M5


@pytest.fixture(scope="session")
def hears_tones() -> M5:
    """Right on every clip of `tone_clips`. Read only."""
    return tone_network()
