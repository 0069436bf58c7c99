"""Which root fields run side by side."""

from hypothesis import given
from hypothesis import strategies as st

from app.execution.pace import MOST_LANES, WORTHWHILE, Pace, lanes

SECONDS = st.lists(st.floats(0, 10), max_size=20)


@given(SECONDS)
def test_every_root_field_has_one_place(seconds: list[float]) -> None:
    found = lanes(seconds)
    assert sorted(number for lane in found for number in lane) == list(range(len(seconds)))
    assert len(found) <= MOST_LANES
    if len(found) > 1:
        assert all(found)
        assert sum(seconds) - max(seconds) >= WORTHWHILE


def test_quick_ones_run_in_series_and_slow_ones_beside_each_other() -> None:
    assert lanes([]) == [[]]
    assert lanes([9.0]) == [[0]]
    assert lanes([0.0001, 9.0, 0.0001]) == [[0, 1, 2]]
    assert lanes([0.01, 0.03, 0.02]) == [[1], [2], [0]]
    assert lanes([0.05, 0.01, 0.01, 0.01, 0.01]) == [[0], [1, 4], [2], [3]]


def test_a_statement_that_waited_does_not_count_as_slow() -> None:
    pace = Pace()
    for seconds in (0.001, 0.5, 0.5):
        pace.note(seconds)
    assert pace.seconds < 0.0012
    for _ in range(200):
        pace.note(0.5)
    assert pace.seconds == 0.5
