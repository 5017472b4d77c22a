"""The best of several samples, by their scores."""

from alignkit.sampling.scoring import best_of


def test_of_each_n_samples_the_one_with_the_highest_score_is_kept():
    assert best_of("abcdef", [0.1, 0.3, 0.2, -5.0, -7.0, -6.0], 3) == ["b", "d"]


def test_of_equal_scores_the_first_is_kept():
    assert best_of("abc", [1.0, 2.0, 2.0], 3) == ["b"]


def test_a_sample_without_a_score_is_kept_only_where_all_are_without():
    assert best_of("abcd", [None, -9.0, None, None], 2) == ["b", "c"]
