"""What users said is prepared once, and one agent's many sessions crowd out no more than room."""

import msgspec
import pytest

from policies import session_of
from portcullis.checks import spoken as module
from portcullis.checks.spoken import Spoken

pytestmark = pytest.mark.anyio


def session(name, prompt="Write to ada@example.org", **fields):
    return msgspec.structs.replace(session_of(), id=name, prompt=prompt, **fields)


@pytest.fixture
def prepared(monkeypatch):
    """How often words were prepared."""
    found = []
    made = module.Words.of
    monkeypatch.setattr(module.Words, "of", lambda texts: found.append(texts) or made(texts))
    return found


async def test_words_are_prepared_once_for_each_turn(prepared):
    kept = Spoken()
    for _ in range(3):
        assert (await kept.words(session("one"))).say("ada@example.org")
    assert len(prepared) == 1
    later = await kept.words(session("one", turns=("and to bob@example.org",)))
    assert later.say("bob@example.org")
    assert len(prepared) == 2


async def test_many_short_sessions_stay_and_long_ones_go_one_after_the_other(prepared):
    kept = Spoken(room=100_000)
    for _ in range(2):
        for number in range(150):
            await kept.words(session(f"s{number}"))
    assert len(prepared) == 150
    long = "word " * 10_000
    for number in range(3):
        found = await kept.words(session(f"long{number}", f"{long} for bob{number}"))
        assert found.say(f"bob{number}")
    await kept.words(session("long2", f"{long} for bob2"))
    assert len(prepared) == 153


async def test_what_the_user_of_an_ended_session_said_is_forgotten(prepared):
    kept = Spoken()
    for name in ("open", "ended"):
        await kept.words(session(name))
    kept.end({"open"}.__contains__)
    for name in ("open", "ended"):
        await kept.words(session(name))
    assert len(prepared) == 3
