"""No value and no combination is lost on the way to the quick run."""

from itertools import product

from quick import combined


def test_quick_run_takes_each_value_and_all_others_are_slow() -> None:
    cases = combined(letter="abcde", number=[1, 2, 3], truth={"yes": True, "no": False}).args[1]
    quick = [case.values for case in cases if not case.marks]
    assert {case.values for case in cases} == set(product("abcde", [1, 2, 3], [True, False]))
    assert {case.marks[0].name for case in cases if case.marks} == {"slow"}
    assert len(quick) == 5
    assert [set(values) for values in zip(*quick, strict=True)] == [set("abcde"), {1, 2, 3}, {True, False}]


def test_axes_of_a_common_period_do_not_always_pair_the_same_values() -> None:
    quick = [case.values for case in combined(option=range(8), batch=range(2)).args[1] if not case.marks]
    assert len({(option % 2, batch) for option, batch in quick}) == 4
