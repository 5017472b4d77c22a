"""How pictures look: stages told apart, by day and by night."""

import re

import pytest

from alignkit.report.figures import COLORS, PAINTS, looks, paints_css


def test_two_stages_never_look_alike_and_the_base_is_black():
    found = looks(["base", *(f"s{number}" for number in range(14))])
    assert len(set(found.values())) == 15
    assert found["base"].paint == "var(--base)"


def luminance(color):
    """Relative luminance, as WCAG 2 defines it."""
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(color, paper):
    bright, dark = sorted((luminance(color), luminance(paper)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("night", [0, 1])
def test_lines_stand_out_from_the_page_by_day_and_by_night(night):
    """Orange and sky blue of Okabe and Ito are the palest on white paper."""
    paper = PAINTS["card"][night]
    drawn = [both[night] for both in PAINTS.values() if both[0] in COLORS]
    assert min(contrast(color, paper) for color in drawn) > (2.2, 5)[night]
    assert contrast(PAINTS["ink"][night], paper) > 7  # WCAG's AAA for text


def test_the_style_sheet_gives_every_paint_once_by_day_and_once_by_night():
    assert re.findall(r"--olive: (#\w+)", paints_css()) == list(PAINTS["olive"])
    assert paints_css().count("--") == 2 * len(PAINTS)
