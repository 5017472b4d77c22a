"""Writes a run's report: one HTML page that needs no other file, and its pictures and numbers as files."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignkit.report.describing import (
    data_rows,
    facts,
    pace,
    quantization_line,
    summary_line,
    warnings,
)
from alignkit.report.diagram import HEIGHT, WIDTH, Diagram, lay_out
from alignkit.report.families import families, family_of
from alignkit.report.figures import paints_css
from alignkit.report.numerals import duration, number_label
from alignkit.report.reading import read_run
from alignkit.report.records import RunRecord
from alignkit.report.sections import Drawn, Sections, make_sections
from alignkit.report.vector import STYLE, as_file
from alignkit.run.files import write_folder, write_text
from alignkit.run.folder import RunFolder

if TYPE_CHECKING:
    from jinja2 import Environment

LONGEST_NAME = 13
"""Characters that fit into a box of the diagram."""
RELOAD_SECONDS = 5
RELOAD = """
const kept = name => JSON.parse(sessionStorage.getItem(name + location.pathname) || "null");
const keep = (name, value) => sessionStorage.setItem(name + location.pathname, JSON.stringify(value));
const folds = () => [...document.querySelectorAll("details")];
try {
  (kept("folds") || []).forEach((open, place) => { if (folds()[place]) folds()[place].open = open; });
  scrollTo(0, kept("scroll") || 0);
} catch (unkept) {}
setTimeout(() => {
  try { keep("scroll", scrollY); keep("folds", folds().map(fold => fold.open)); } catch (unkept) {}
  location.reload();
}, SECONDS * 1000);
""".replace("SECONDS", str(RELOAD_SECONDS))
"""The only script of a page, and only while its run goes on: load it anew, where the reader was."""


def write_report(run: Path, *, live: bool = False, drawn: Drawn | None = None) -> Path:
    """Write the page `run`/report.html and its files in `run`/report/; return the page's path.

    live: the run goes on, so the page loads itself anew. drawn: what an earlier call drew. Raises UserError
    where `run` is not a run.
    """
    from matplotlib import rc_context

    found, folder = read_run(run), RunFolder(run)
    with rc_context({"text.parse_math": False}):  # a name may hold dollar signs
        sections = make_sections(found, drawn or Drawn())
    write_files(folder.report_files, sections)
    write_text(folder.report_page, _page(found, sections, live=live))
    return folder.report_page


def write_files(target: Path, sections: Sections) -> None:
    """Write the pictures and the numbers as files into a folder."""

    def save(place: Path) -> None:
        for panel in (panel for picture in sections.pictures for panel in picture.panels):
            (place / f"{panel.name}.svg").write_text(as_file(panel), encoding="utf-8")
        for sheet in sections.sheets:
            (place / sheet.name).write_text(sheet.text, encoding="utf-8")

    write_folder(target, save)


def make_environment() -> Environment:
    """Return what fills templates. What stands in double braces is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("alignkit.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number_label, "duration": duration, "box_name": _box_name}
    environment.globals |= {"paints": f"{paints_css()}\n{STYLE}"}
    return environment


def _page(run: RunRecord, sections: Sections, *, live: bool) -> str:
    members = families(run.names)
    return (
        make_environment()
        .get_template("page.html")
        .render(
            run=run,
            live=live,
            reload=RELOAD,
            reload_hash=base64.b64encode(hashlib.sha256(RELOAD.encode()).digest()).decode(),
            written=written_now(),
            facts=facts(run),
            warnings=warnings(run),
            diagram=_diagram(run, members),
            members=members,
            box={"width": WIDTH, "height": HEIGHT},
            stages={stage.name: stage for stage in run.stages},
            summary_line=summary_line,
            pace=pace,
            quantization_line=quantization_line,
            data_rows=data_rows,
            answered=[stage for stage in run.stages if stage.answers],
            evaluated=sections.evaluated,
            trained=sections.trained,
            look=sections.look,
            planned=_plain(run.recipe.planned if run.recipe else {}),
        )
    )


def written_now() -> str:
    """Return the time for people."""
    return datetime.now(UTC).strftime("%d %B %Y, %H:%M:%S UTC")


def _diagram(run: RunRecord, members: Mapping[str, tuple[str, ...]]) -> Diagram | None:
    """Lay out the stages, with one box for all seeds of a training; None before the first stage is begun."""
    reads: dict[str, list[str]] = {family: [] for family in members}
    for stage in run.stages:
        known = [family_of(name) for name in stage.reads if name in run.names or name in members]
        reads[family_of(stage.name)] += [name for name in dict.fromkeys(known) if name in members]
    return lay_out(reads) if reads else None


def _plain(planned: Mapping[str, Any]) -> str:
    return json.dumps(planned, indent=2, ensure_ascii=False)


def _box_name(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
