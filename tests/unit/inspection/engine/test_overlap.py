from __future__ import annotations

import random

from portcullis.inspection.overlap import Overlaps


def resolved(*found: tuple[int, int, float, int]) -> list[tuple[int, int, int]]:
    overlaps = Overlaps()
    overlaps.add(list(found))
    settled, final = overlaps.settle(10**6)
    assert settled == 10**6
    return [(start, end, order) for start, end, _, order in final]


def test_length_goes_before_score_and_score_before_order() -> None:
    assert resolved((0, 5, 0.1, 2), (1, 4, 1, 0)) == [(0, 5, 2)]
    assert resolved((0, 5, 0.1, 0), (0, 5, 0.9, 1)) == [(0, 5, 1)]
    assert resolved((0, 5, 1, 1), (0, 5, 1, 0)) == [(0, 5, 0)]


def test_what_a_loser_covers_alone_stays_covered_on_both_sides() -> None:
    assert resolved((0, 4, 1, 0), (2, 9, 1, 1), (8, 12, 1, 2)) == [(0, 2, 0), (2, 9, 1), (9, 12, 2)]
    assert resolved((0, 6, 1, 0), (10, 16, 1, 1), (4, 12, 1, 2)) == [
        (0, 4, 0),
        (4, 12, 2),
        (12, 16, 1),
    ]


def test_the_outcome_does_not_depend_on_when_candidates_become_known() -> None:
    source = random.Random(2)
    for _ in range(200):
        starts = sorted(source.randint(0, 60) for _ in range(source.randint(1, 12)))
        found = [
            (start, start + source.randint(1, 15), source.choice([0.5, 1.0]), order)
            for order, start in enumerate(starts)
        ]
        whole = Overlaps()
        whole.add(found)
        expected = whole.settle(1000)[1]
        parts, got, before = Overlaps(), [], 0
        for cut in [*sorted(source.sample(range(1, 90), 5)), 1000]:
            parts.add([one for one in found if before <= one[0] < cut])
            settled, final = parts.settle(cut)
            assert all(one[1] <= settled for one in final)
            got += final
            before = cut
        assert got == expected
