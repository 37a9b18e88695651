"""Numbers that speakers declare, as groups."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognizer.groups import UNDECLARED
from recognizer.manifest import ManifestError
from training.corpora.ranges import Ranges

STRENGTH = Ranges.parse("0-3:4-6:7-10")


@given(st.integers(0, 10))
def test_every_whole_number_of_the_scale_is_in_the_range_that_names_it(number: int) -> None:
    low, _, high = STRENGTH.group(str(number)).partition("-")
    assert int(low) <= number <= int(high)
    assert STRENGTH.group(f"{number}.0") == STRENGTH.group(str(number))


@pytest.mark.parametrize("value", ["11", "-1", "3.5", "strong", "inf", "nan", UNDECLARED])
def test_no_number_and_one_outside_the_ranges_are_undeclared(value: str) -> None:
    assert STRENGTH.group(value) == UNDECLARED


def test_a_range_is_itself_so_that_a_manifest_can_be_read_again() -> None:
    assert [STRENGTH.group(group) for group in STRENGTH.groups] == ["0-3", "4-6", "7-10"]


@pytest.mark.parametrize("text", ["", "0-10", "0-3:3-10", "4-6:0-3", "3-0:4-6", "low:high", "0-3:4", "0-3:4-6:"])
def test_ranges_that_do_not_rise_or_overlap_are_refused(text: str) -> None:
    with pytest.raises(ManifestError, match="two or more such as 0-3:4-6:7-10 are accepted"):
        Ranges.parse(text)
