"""Turns a figure into SVG whose colors follow the page, and which can stand within it or in a file."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from alignkit.report.figures import PAGE_PIXELS, PAINTS, Panel, paint_name, paints_css

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RIM = "rim"
"""What a text is called that has a rim of the page's color, so that it can be read over lines."""
STYLE = f"""\
.picture * {{ stroke-linejoin: round; stroke-linecap: butt }}
.{RIM} text {{ paint-order: stroke; stroke: var(--card); stroke-width: 3px }}"""
"""What a page needs to show pictures, beside the paints."""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_PAINTED = re.compile(r"\b(fill|stroke): (#[0-9a-f]{6})")
_LIGHT = {light for light, _ in PAINTS.values()}


def render(figure: Figure, name: str) -> Panel:
    """Draw a figure as SVG. The same figure gives the same text.

    name: of the file; characters that a file's name should not have are replaced. Letters stay text, which is
    small and can be searched.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    name = file_name(name)
    buffer, nothing = io.StringIO(), dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata=nothing)
    width = round(PAGE_PIXELS * figure.get_figwidth())
    return Panel(name, _for_a_page(buffer.getvalue(), name, width), width)


def file_name(name: str) -> str:
    """Return a name with only letters, digits, - and _: as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)


def as_file(panel: Panel) -> str:
    """Return the panel as a file of its own, on paper of the page's color."""
    paper = '<rect width="100%" height="100%" fill="var(--card)"/>'
    style = f"<style>{paints_css()}\n{STYLE}\ntext {{ font-family: {FONT} }}</style>"
    head, end, rest = panel.svg.partition(">")
    return f"{head}{end}\n{style}\n{paper}{rest}\n"


def _for_a_page(text: str, name: str, width: int) -> str:
    """Cut a file down to what a page needs.

    Ids that nothing refers to are dropped, the others begin with the panel's name: a page holds many panels.
    """
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text))
    kept = {one or other for one, other in used}

    def place(match: re.Match[str]) -> str:
        found = match[1]
        if found == RIM:
            return f' class="{RIM}"'
        return f' id="{name}-{found}"' if found in kept else ""

    text = re.sub(r' id="([^"]*)"', place, text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', text)
    text = _PAINTED.sub(_paint, text)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # it would hold for the whole page
    text = re.sub(r"font-family: [^;\"]*; |; font-family: [^;\"]*", "", text)  # letters are the page's
    text = re.sub(r' transform="rotate\(-0 [^"]*"', "", text)
    text = re.sub(r"(\d\.\d\d)\d+", r"\1", text)
    text = re.sub(r"<defs>\s*</defs>|\n\s*", "\n", text).strip()
    box = re.search(r'viewBox="([^"]+)"', text)
    assert box is not None
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box[1]}" width="{width}" class="picture">'
    return head + text[text.index(">") + 1 :]


def _paint(match: re.Match[str]) -> str:
    return f"{match[1]}: var(--{paint_name(match[2])})" if match[2] in _LIGHT else match[0]
