"""The story can be read in 80 columns, without colour, and in a pipe."""

import io

from rich.console import Console

from portcullis.demo.narrate import Narrator
from portcullis.demo.story import Step

STEP = Step(
    title="A step with quite a long title, as titles go",
    attempt="something that takes many words to say, so that it must be wrapped somewhere, surely",
    expected="denied [bold]and not markup[/bold]",
    actual="denied",
    ok=True,
    events=("0123456789abcdef0123456789abcdef", "another"),
)


def spoken(step: Step, width: int = 200) -> str:
    out = io.StringIO()
    narrator = Narrator(Console(file=out, width=width, highlight=False))
    narrator.step(step)
    narrator.closing(ok=step.ok, steps=1)
    narrator.verbatim("x" * 300)
    return out.getvalue()


def test_lines_fit_80_columns_and_hold_no_escapes_in_a_pipe():
    told = spoken(STEP)
    assert "\x1b" not in told
    lines = told.splitlines()
    assert max(len(line) for line in lines if "xxx" not in line) <= 80
    assert "x" * 300 in lines


def test_the_outcome_is_in_words_and_the_proof_is_named():
    assert "as told" in spoken(STEP)
    assert STEP.events[0] in spoken(STEP)
    failed = Step(
        title="t", attempt="a", expected="e", actual="something else", ok=False, events=()
    )
    assert "NOT AS TOLD" in spoken(failed)
    assert "did NOT go as told" in spoken(failed)


def test_what_a_scene_says_is_never_read_as_markup():
    assert "[bold]and not markup[/bold]" in spoken(STEP)
