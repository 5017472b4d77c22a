"""The page that shows a run: self-contained, escaped, complete, and honest about what is not finished."""

import base64
import re
import shutil
import struct
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from fake_pipeline import write_run
from fake_run import (
    SCRIPT,
    interval,
    offline_metrics,
    policy_measures,
    write_evaluation,
    write_stage,
    write_train,
)

from alignkit.report.page import write_report

PICTURES = {
    "compare-frontier",
    "judge-reliability",
    "ppo-over-optimization",
    *(f"{name}-training" for name in ("sft", "reward", "dpo", "ppo", "unlikelihood")),
}


class Tags(HTMLParser):
    """Every tag with its attributes, the text, and whether each tag was closed in order."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = write_run(tmp_path_factory.mktemp("runs") / "rlhf")
    assert write_report(folder) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def page(run):
    return Tags((run / "report.html").read_text())


def words(page):
    return " ".join(" ".join(page.words).split())


def test_the_page_is_well_formed(page):
    assert page.open == []
    assert [tag for tag, _ in page.tags].count("h1") == 1


def test_the_page_loads_nothing_from_elsewhere(page):
    sources = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "data")
    ]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    assert "url(http" not in "".join(page.words)
    assert "@import" not in "".join(page.words)


def test_what_a_model_wrote_is_shown_as_text(run, page):
    assert SCRIPT not in (run / "report.html").read_text()
    assert SCRIPT in words(page)


def test_every_target_is_in_the_table_and_above_a_sample(page):
    for target in ("base", "sft", "dpo", "ppo"):
        # of the first 8 prompts, the first has an empty completion
        assert words(page).count(f"{target} says") == 7
        assert f"{target} (first of 2)" in words(page)
    assert "(empty)" in words(page)


def test_only_the_first_prompts_are_shown(page):
    assert "Question 7:" in words(page)
    assert "Question 8:" not in words(page)


def test_the_table_shows_means_with_their_intervals(page):
    assert "0.470 0.400 to 0.540" in words(page)
    assert "win rate against base, sentiment" in words(page)
    assert "KL to the reference (nats per completion)" in words(page)


def test_the_highest_mean_of_each_reward_is_marked(run):
    html = (run / "report.html").read_text()
    # of ppo, by sentiment and by reward
    assert re.findall(r'<td class="best"><b>([^<]*)</b>', html) == ["0.470", "2.60"]


def test_a_mean_over_nothing_is_a_dash(page):
    assert "correlation of reward and length" in words(page)
    assert "nan" not in words(page).lower().split()


def test_the_pictures_on_the_page_are_the_png_files_beside_it(run, page):
    files = {path.stem: path.read_bytes() for path in (run / "report").iterdir()}
    assert set(files) == PICTURES
    inlined = [
        base64.b64decode(attributes["src"].partition(",")[2]) for tag, attributes in page.tags if tag == "img"
    ]
    assert sorted(inlined) == sorted(files.values())
    for data in inlined:
        assert data.startswith(b"\x89PNG")
        assert min(struct.unpack(">II", data[16:24])) > 300


def test_an_unfinished_stage_is_shown_as_such_and_no_other_is(page):
    assert words(page).count("train, not finished") == 1
    assert "unlikelihood not finished" in words(page)
    assert "ppo not finished" not in words(page)
    assert "90 steps done" in words(page)


def test_stages_come_after_what_they_read(page):
    lines = (
        "train sft on",
        "sample 4 completions per prompt",
        "label samples by",
        "train bradley-terry",
        "train ppo",
        "evaluate base",
    )
    places = [words(page).index(line) for line in lines]
    assert places == sorted(places)


def test_writing_again_replaces_the_report(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "rlhf")
    (copy / "report" / "old.png").write_bytes(b"")
    shutil.rmtree(copy / "compare")
    write_report(copy)
    assert {path.stem for path in (copy / "report").iterdir()} == PICTURES - {"compare-frontier"}


def test_a_run_without_an_evaluation_shows_its_training(tmp_path):
    write_train(tmp_path, "sft", "sft", offline_metrics(3, pairs=False))
    page = Tags(write_report(tmp_path).read_text())
    assert "Training" in words(page)
    assert "Evaluation" not in words(page)
    assert [tag for tag, _ in page.tags].count("img") == 1


def test_a_stage_that_has_not_made_a_step_is_shown(tmp_path):
    write_train(tmp_path, "sft", "sft", [], done=False)
    assert "no step yet" in words(Tags(write_report(tmp_path).read_text()))


def test_many_targets_close_together_are_all_drawn(tmp_path):
    targets = {
        f"policy-{number}": policy_measures(0.3 + number / 500, 1.0, 2 + number / 50, 40)
        for number in range(12)
    }
    write_evaluation(tmp_path, "compare", targets, reads=[])
    text = words(Tags(write_report(tmp_path).read_text()))
    assert all(name in text for name in targets)
    assert (tmp_path / "report" / "compare-frontier.png").is_file()


def test_a_lone_target_without_a_kl_has_a_table_without_best_and_no_frontier(tmp_path):
    write_evaluation(tmp_path, "compare", {"base": {"sentiment": interval(0.5, 0.1)}}, reads=[])
    html = write_report(tmp_path).read_text()
    assert "0.500 0.400 to 0.600" in words(Tags(html))
    assert 'class="best"' not in html
    assert not list((tmp_path / "report").iterdir())


def test_names_and_settings_are_escaped_too(tmp_path):
    write_stage(
        tmp_path,
        "ranked",
        "label",
        line="label <b>data</b> by <i>reward</i>",
        reads=["<b>data</b>"],
    )
    html = write_report(tmp_path).read_text()
    assert "&lt;b&gt;data&lt;/b&gt; by &lt;i&gt;reward&lt;/i&gt;" in html
    assert "<i>" not in html


def test_the_command_prints_where_the_report_is_and_imports_neither_torch_nor_pyplot(tmp_path):
    write_train(tmp_path, "sft", "sft", offline_metrics(2, pairs=False))
    script = (
        f"import sys\nsys.argv = ['alignkit', 'report', {str(tmp_path)!r}]\nfrom alignkit.cli import app\n"
    )
    script += "app(standalone_mode=False)\nassert not {'torch', 'matplotlib.pyplot'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"Written: {tmp_path / 'report.html'}"


def test_importing_the_report_imports_nothing_heavy():
    script = (
        "import alignkit.report.page, alignkit.report.evaluation_pictures, "
        "alignkit.report.training_pictures, sys\n"
    )
    script += (
        "assert not [name for name in sys.modules if name.startswith(('matplotlib', 'jinja2', 'torch'))]"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_measure_without_an_interval_is_shown_as_its_number_alone(page):
    assert "0.062" in page.words, "calibration errors and correlations come without an interval"
    assert "0.062 to 0.062" not in page.words


def test_a_name_with_dollar_signs_is_no_formula(tmp_path):
    name = "a$x_$"
    records = [
        {"step": step, "rollouts/reward": 1.0, "rewards/model": 1.0, f"rewards/{name}": 2.0 + step}
        for step in (1, 2)
    ]
    settings = {"reward": [{"reward": "model"}], "watch": [{"reward": name}]}
    write_stage(tmp_path / "r", "policy", "train", settings=settings, metrics=records)
    assert name in write_report(tmp_path / "r").read_text()
