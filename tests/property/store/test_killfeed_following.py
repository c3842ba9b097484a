"""If this fails, a gateway can be made to miss a cut by what comes late, twice, or not at all."""

from hypothesis import given
from hypothesis import strategies as st

from portcullis.core.feed import Heartbeat, Snapshot, Standing, Update, epoch_of, term_of
from portcullis.store.killfeed_following import Following, Made, changed

UPDATES = 5
TERMS = (1, 2, 3)
NAME = "gate-1"


def cut(term, number):
    """What the ``number``-th update of a publisher says."""
    return Standing("agent", f"{term}.{number}", "leaked")


def stands(term, number):
    """All that stands after it, as far as this publisher knows."""
    return {cut(term, one) for one in range(1, number + 1)}


def frame(kind, term, number, asked):
    epoch, at = epoch_of(term, "life"), 100.0 * term + number
    match kind:
        case "update":
            return Update(epoch, number, at, (cut(term, number),))
        case "beat":
            return Heartbeat(epoch, number, at + 0.5)
        case "shown again":
            return Snapshot(epoch, number, at + 0.5, NAME, b"never asked", ())
        case _:
            standings = tuple(stands(term, number))
            return Snapshot(epoch, number, at + 0.5, NAME, bytes([asked]), standings)


frames = st.tuples(
    st.sampled_from(["update", "update", "beat", "answer", "answer", "shown again"]),
    st.sampled_from(TERMS),
    st.integers(1, UPDATES),
    st.integers(0, 3),
)


@given(st.lists(st.one_of(frames, st.just("ask")), max_size=40))
def test_who_is_in_step_has_every_update_of_the_last_publisher_that_it_heard(happens):
    follower, layer, asked, latest = Following(NAME, 1.0), set(), 0, (0, 0)
    for number, one in enumerate(happens):
        if one == "ask":
            follower.ask(bytes([asked]), float(number))
            asked = (asked + 1) % 4
            continue
        said = frame(*one)
        was = follower.fresh_until
        made = follower.hear(said)
        if made is Made.WHOLE:
            layer = set(changed(said))
        elif made is Made.CHANGED:
            layer |= set(changed(said))
        heard = (term_of(said.epoch), said.sequence)
        if heard[0] < latest[0]:
            assert made is Made.REFUSED, "another publisher ruled since"
        latest = max(latest, heard)
        in_step = follower.heard is not None
        if made in {Made.REFUSED, Made.UNKNOWN}:
            assert follower.fresh_until == was, "what is refused keeps nobody fresh"
        if in_step:
            term = term_of(follower.epoch)
            assert layer == stands(term, follower.sequence)
            if made in {Made.WHOLE, Made.CHANGED, Made.FRESH}:
                assert (term, follower.sequence) == latest, "nothing is known to be missing"
