"""Figures as SVG: small, the same each time, safe within a page, and whole as files."""

import re
import xml.etree.ElementTree as ET

from alignkit.report.figures import COLORS, INK, new_panel
from alignkit.report.labels import Cross, label_points
from alignkit.report.vector import as_file, file_name, render

NASTY = "a <b>bold</b> & --> name"


def draw(name="s-loss", color=COLORS[0]):
    figure, axes = new_panel(3.0, 2.0, NASTY)
    axes.plot([1, 2], [3, 4], "o-", color=color, label="training")
    axes.legend(labelcolor=INK, frameon=False)
    label_points(axes, {NASTY: Cross(1.5, 3.5, 1.4, 1.6, 3.4, 3.6)})
    return render(figure, name)


def test_the_same_figure_gives_the_same_text():
    assert draw() == draw()


def test_text_stays_text_and_is_escaped():
    texts = ["".join(text.itertext()) for text in ET.fromstring(draw().svg).iterfind(".//{*}text")]
    assert texts.count(NASTY) == 2  # the title, and the point's name
    assert "<b>" not in draw().svg


def test_every_color_is_a_paint_of_the_page():
    svg = draw().svg
    assert "stroke: var(--blue)" in svg
    assert not re.findall(r"(?:fill|stroke): #\w+", svg)
    assert all("fill: var(--" in text for text in re.findall(r"<text[^>]*>", svg))


def test_two_panels_of_a_page_share_no_id_and_each_refers_to_its_own():
    found = {name: draw(name).svg for name in ("one", "two")}
    ids = {name: set(re.findall(r' id="([^"]*)"', svg)) for name, svg in found.items()}
    assert not ids["one"] & ids["two"]
    for name, svg in found.items():
        referred = set(re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', svg))
        assert {one or other for one, other in referred} == ids[name]


def test_a_panel_brings_no_style_that_would_hold_for_the_whole_page():
    assert "<style" not in draw().svg


def test_a_file_has_its_own_paints_and_paper():
    text = as_file(draw())
    assert ET.fromstring(text).tag.endswith("svg")
    assert "--blue: #0072b2" in text
    assert "prefers-color-scheme: dark" in text
    assert 'height="100%" fill="var(--card)"' in text


def test_names_of_files_have_no_characters_that_lead_elsewhere():
    assert file_name("../a/b: c") == "-a-b-c"
    assert draw("s-rewards/accuracies").name == "s-rewards-accuracies"
