"""The page that shows a run: self-contained, escaped, complete, and honest about what is not finished."""

import base64
import hashlib
import re
import shutil
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

from alignkit.report import training_pictures
from alignkit.report.page import write_report
from alignkit.report.sections import Drawn

FAMILIES = ("sft", "reward", "dpo", "ppo", "unlikelihood")


class Tags(HTMLParser):
    """Every tag with its attributes, the text, and whether each tag was closed in order."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link"):
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
        (tag, value)
        for tag, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "srcset", "data")
    ]
    assert all(
        value.startswith(("#", "data:text/csv;base64,")) or (tag == "a" and value.startswith("report/"))
        for tag, value in sources
    )
    assert not {"script", "link", "iframe", "object", "base", "img"} & {tag for tag, _ in page.tags}
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


def test_only_a_lead_that_the_intervals_bear_out_is_marked(run):
    html = (run / "report.html").read_text()
    # of ppo by reward; by sentiment its interval overlaps that of dpo
    assert re.findall(r'<td class="best"><b>([^<]*)</b>', html) == ["2.60"]


def test_a_mean_over_nothing_is_a_dash(page):
    assert "correlation of reward and length" in words(page)
    assert "nan" not in words(page).lower().split()


def test_every_picture_on_the_page_is_a_file_beside_it_and_so_are_the_numbers(run):
    html = (run / "report.html").read_text()
    files = {path.name for path in (run / "report").iterdir()}
    for name in (
        "compare-frontier-sentiment",
        "judge-reliability-reward",
        "ppo-over-optimization-step",
        *(f"{family}-loss" for family in FAMILIES),
    ):
        assert f"{name}.svg" in files
        assert f'id="{name}-' in html
    assert html.count('class="picture"') == len([name for name in files if name.endswith(".svg")])
    assert {name for name in files if name.endswith(".csv")} == {
        f"{name}.csv" for name in (*FAMILIES, "compare", "judge")
    }


def test_no_two_things_on_the_page_have_one_id(page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)


def test_every_link_of_the_contents_leads_to_its_place(page):
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [
        attributes["href"][1:]
        for tag, attributes in page.tags
        if tag == "a" and attributes["href"].startswith("#")
    ]
    assert {"pipeline", "evaluation-compare", "training-dpo", "samples-ranked", "recipe"} <= set(links)
    assert set(links) <= ids


def test_the_numbers_can_be_taken_from_the_page_alone(run, page):
    found = {
        attributes["download"]: base64.b64decode(attributes["href"].partition(",")[2])
        for tag, attributes in page.tags
        if "download" in attributes
    }
    assert found["dpo.csv"] == (run / "report" / "dpo.csv").read_bytes()
    assert b"dpo-seed-2" in found["compare.csv"]


def test_an_unfinished_stage_is_shown_as_such_and_no_other_is(page):
    assert words(page).count("train, not finished") == 1
    assert "exported not begun" in words(page)
    assert "unlikelihood not finished" in words(page)
    assert "ppo not finished" not in words(page)
    assert "90 steps done" in words(page)


def test_stages_come_in_the_order_of_the_recipe(page):
    lines = (
        "train sft on",
        "sample 4 completions per prompt",
        "label samples by",
        "train bradley-terry",
        "train ppo",
        "evaluate the reward model",
        "evaluate base",
        "train unlikelihood",
    )
    places = [words(page).index(line) for line in lines]
    assert places == sorted(places)


def test_writing_again_replaces_the_report(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "rlhf")
    (copy / "report" / "old.svg").write_bytes(b"")
    shutil.rmtree(copy / "compare")
    write_report(copy)
    gone = {path.name for path in (run / "report").iterdir()} - {
        path.name for path in (copy / "report").iterdir()
    }
    assert gone == {"compare.csv", "compare-frontier-sentiment.svg", "compare-frontier-reward.svg"}


def test_the_recipe_and_its_overrides_are_shown_as_text(page):
    assert "recipes/rlhf.yaml" in words(page)
    assert "training.steps=200" in words(page)
    assert "# made up & <b>not bold</b>" in words(page)


def test_the_data_table_and_the_cost_of_quantization_are_shown(page):
    assert "5 × all completions tie (first at ranked.jsonl:2)" in words(page)
    assert (
        words(page).count("nf4 costs 0.41 nats per token (0.35 to 0.47) on 32 completions: 2.19 → 2.60") == 2
    )


def test_samples_are_shown_of_every_stage_that_has_some(page):
    for text in ("Over the river.", "best worst", "after 20 steps", "much", "Preview 2?"):
        assert all(word in words(page) for word in text.split())
    assert "batch 000007" in words(page)
    assert "What is not scored yet?" not in words(page)


def test_seeds_are_one_training_and_each_has_its_row(page):
    assert "dpo (2 seeds)" in words(page)
    assert "The rows of each seed" in words(page)
    assert words(page).count("dpo-seed-2") >= 3


def test_a_page_reloads_itself_only_while_its_run_goes_on(tmp_path):
    write_train(tmp_path, "sft", "sft", [], done=False)
    html = write_report(tmp_path, live=True).read_text()
    script = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(script) == 1
    allowed = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert f"script-src &#39;sha256-{allowed}&#39;" in html or f"script-src 'sha256-{allowed}'" in html
    assert "This run goes on" in html
    html = write_report(tmp_path).read_text()
    assert "<script" not in html
    assert "This run is not finished" in html


def test_what_was_drawn_of_a_stage_that_has_not_changed_is_not_drawn_again(tmp_path, monkeypatch):
    write_train(tmp_path, "done", "sft", offline_metrics(3, pairs=False))
    write_train(tmp_path, "open", "sft", offline_metrics(3, pairs=False), done=False)
    drawn, names = Drawn(), []
    draw = training_pictures.render

    def watched(figure, name):
        names.append(name)
        return draw(figure, name)

    monkeypatch.setattr(training_pictures, "render", watched)
    write_report(tmp_path, drawn=drawn)
    assert {name.partition("-")[0] for name in names} == {"done", "open"}
    names.clear()
    with (tmp_path / "open" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "loss": 0.5}\n')
    write_report(tmp_path, drawn=drawn)
    assert {name.partition("-")[0] for name in names} == {"open"}


def test_a_run_without_an_evaluation_shows_its_training(tmp_path):
    write_train(tmp_path, "sft", "sft", offline_metrics(3, pairs=False))
    page = Tags(write_report(tmp_path).read_text())
    assert "Training" in words(page)
    assert "Evaluation" not in words(page)
    assert "sft by step" in words(page)


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
    assert (tmp_path / "report" / "compare-frontier-sentiment.svg").is_file()


def test_a_lone_target_without_a_kl_has_a_table_without_best_and_no_frontier(tmp_path):
    write_evaluation(tmp_path, "compare", {"base": {"sentiment": interval(0.5, 0.1)}}, reads=[])
    html = write_report(tmp_path).read_text()
    assert "0.500 0.400 to 0.600" in words(Tags(html))
    assert 'class="best"' not in html
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["compare.csv"]


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
