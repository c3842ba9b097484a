"""If these fail, a risky agent goes on, or one that was let out is shut in again at once."""

from portcullis.core.behaviour import RiskLevel
from portcullis.oversight.quarantine import Risen, because

CRITICAL, HIGH, NORMAL = RiskLevel.CRITICAL, RiskLevel.HIGH, RiskLevel.NORMAL


def test_an_agent_is_told_once_when_it_rises_and_again_after_it_fell():
    risen = Risen(CRITICAL)
    assert risen.step({"a": HIGH, "b": CRITICAL, "c": NORMAL}) == ("b",)
    assert risen.step({"a": CRITICAL, "b": CRITICAL}) == ("a",)
    assert risen.step({"a": HIGH}) == ()
    assert risen.step({"a": CRITICAL, "b": CRITICAL}) == ("a", "b")


def test_what_could_not_be_done_is_told_again():
    risen = Risen(HIGH)
    assert risen.step({"a": CRITICAL}) == ("a",)
    risen.forget("a")
    assert risen.step({"a": HIGH}) == ("a",)


def test_the_reason_is_one_line_that_fits_and_holds_what_weighs_most():
    assert because(CRITICAL, ()) == "its risk is critical"
    assert because(CRITICAL, ["tool: orders.export: 9 (0)", "hours: 3"]) == (
        "its risk is critical; tool: orders.export: 9 (0); hours: 3"
    )
    assert because(HIGH, ["x" * 150, "y" * 150]) == f"its risk is high; {'x' * 150}"
    assert because(HIGH, ["a\nb"]) == "its risk is high"
