"""`alignkit objectives`."""


def test_all_objectives_are_listed_with_their_first_line(alignkit):
    out, _ = alignkit("objectives")
    (line,) = (line for line in out.splitlines() if line.startswith("dpo "))
    assert "Rafailov et al., 2023" in line


def test_one_objective_is_shown_with_its_data_roles_and_options(alignkit):
    out, _ = alignkit("objectives", "ppo")
    assert "  data    Prompts\n" in out
    assert "  trains  policy, value\n" in out
    assert "  reads   an option decides\n" in out
    assert "  kl_estimator: k1 or k3 = k1  " in out


def test_an_unknown_objective_is_told_with_the_nearest(alignkit):
    assert "Did you mean 'dpo'" in alignkit("objectives", "dpoo", code=2)[1]


def test_optimizers_and_observers_are_listed_with_their_source_and_shown_with_their_options(alignkit):
    out, _ = alignkit("objectives")
    assert out.index("\nOptimizers:\n") < out.index("\nlora-plus ") < out.index("\nObservers:\n")
    (line,) = (line for line in out.splitlines() if line.startswith("early-stopping "))
    assert "metric has not improved" in line
    assert line.endswith("(alignkit 0.1.0)")
    assert "  ratio: number = 16 (more than 0)  " in alignkit("objectives", "lora-plus")[0]
    assert "  patience: whole number = 3 " in alignkit("objectives", "early-stopping")[0]
