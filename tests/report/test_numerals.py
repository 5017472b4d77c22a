"""Numbers and durations as people write them."""

import pytest

from alignkit.report.numerals import duration, number_label


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (1234.5, "1,234"),
        (12.345, "12.3"),
        (-0.5, "-0.500"),
        (0, "0"),
        (2000.0, "2,000"),
        (1e-5, "1e-05"),
        (float("nan"), "–"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number_label(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.02, "1 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (206, "3 min 26 s"), (7384, "2 h 3 min")],
)
def test_a_duration_has_its_two_largest_units(seconds, text):
    assert duration(seconds) == text
