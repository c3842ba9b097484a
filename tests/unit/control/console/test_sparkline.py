"""If these fail, the drawing of what an agent asked for says something else than the numbers."""

import pytest

from portcullis.control.console.sparkline import HEIGHT, WIDTH, Sparkline
from portcullis.core.desk import Course, Step


def course(*counts, known=0.0):
    steps = tuple(
        Step(at=number * 3600.0, calls=calls, refused=refused)
        for number, (calls, refused) in enumerate(counts)
    )
    return Course(seconds=3600.0, known=known, steps=steps)


def test_bars_are_as_high_as_there_were_calls_and_stand_side_by_side():
    drawn = Sparkline.of(course((10, 0), (0, 0), (5, 5), (1000, 1)))
    assert [bar.height for bar in drawn.bars] == [2.0, 0.0, 2.0, HEIGHT]
    assert [bar.refused for bar in drawn.bars] == [0.0, 0.0, 2.0, 2.0]
    assert (drawn.calls, drawn.refused, drawn.most, drawn.whole) == (1015, 6, 1000, True)
    ends = [bar.x + bar.width for bar in drawn.bars]
    assert all(end < bar.x for end, bar in zip(ends, drawn.bars[1:], strict=False))
    assert ends[-1] <= WIDTH


def test_what_was_not_counted_in_full_has_no_bar_and_counts_for_no_height():
    drawn = Sparkline.of(course((900, 900), (10, 0), (5, 0), known=3000.0))
    assert [bar.known for bar in drawn.bars] == [False, True, True]
    assert drawn.most == 10
    assert not drawn.whole


@pytest.mark.parametrize("counts", [(), ((0, 0),) * 24])
def test_nothing_is_drawn_of_nothing(counts):
    drawn = Sparkline.of(course(*counts))
    assert (drawn.calls, drawn.most) == (0, 0)
    assert all(bar.height == 0.0 for bar in drawn.bars)
