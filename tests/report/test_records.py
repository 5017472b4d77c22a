"""How the numbers of a run are called: by its manifest and its evaluation, else by their own names."""

from fake_run import make_record

from alignkit.measure import Metric
from alignkit.report.records import Evaluation


def test_a_number_that_nobody_described_is_called_by_its_own_name():
    assert make_record(metrics={}).title("theirs/margin") == "theirs/margin"
    assert str(Evaluation("policies", "prompts", {}).metric("theirs")) == "theirs"


def test_a_number_of_a_third_party_has_its_label_and_unit():
    theirs = Metric("their margin", "nats")
    assert make_record(metrics={"theirs/margin": theirs}).title("theirs/margin") == "their margin (nats)"
    evaluation = Evaluation("policies", "prompts", {}, {"theirs": theirs})
    assert str(evaluation.metric("theirs")) == "their margin (nats)"


def test_in_a_mixture_the_objective_stands_before_the_label_or_the_name():
    mixed = make_record(terms=["one", "two"], metrics={"one/kl": Metric("KL", "nats")})
    assert mixed.title("one/kl") == "one/KL (nats)"
    assert mixed.title("two/other") == "two/other"
    assert mixed.title("grad_norm") == "grad_norm"


def test_without_a_mixture_nothing_is_cut_off_a_name():
    assert make_record(terms=["one"]).split("one/kl") == ("", "one/kl")
    assert make_record(terms=["one", "two"]).split("one/kl") == ("one/", "kl")


def test_the_divergence_of_an_evaluation_is_the_measure_that_says_so():
    measures = {"length": Metric("length"), "theirs": Metric("distance", divergence=True)}
    assert Evaluation("policies", "prompts", {}, measures).divergence == "theirs"
    assert Evaluation("policies", "prompts", {}).divergence is None
