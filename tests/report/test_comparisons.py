import pytest
from stored import CONDITIONS, compared, profiled

from edgecnn.report.comparisons import comparisons


def test_a_comparison_says_both_files_and_the_ratio_with_its_interval():
    (found,) = comparisons([compared("a", "b", 0.5), profiled("a")])
    assert (found["name"], found["baseline"]) == ("a.onnx", "b.onnx")
    assert (found["p50"], found["baseline_p50"]) == (5.0, 10.0)
    assert (found["ratio"], found["interval"], found["verdict"]) == (0.5, [0.49, 0.51], "faster")


def test_the_newest_of_the_same_two_files_is_shown():
    older, newer = compared("a", "b", 0.5, time=1.0), compared("a", "b", 0.6, time=2.0)
    assert [item["ratio"] for item in comparisons([older, newer])] == [0.6]
    assert [item["ratio"] for item in comparisons([older, newer], everything=True)] == [0.5, 0.6]


@pytest.mark.parametrize(
    "other",
    [compared("a", "c", 0.5), compared("a", "b", 0.5, conditions={**CONDITIONS, "governor": "powersave"})],
)
def test_another_baseline_or_another_setting_is_another_comparison(other):
    assert len(comparisons([compared("a", "b", 0.5), other])) == 2
