"""If these fail, somebody else acts on a yes that asked the gate for more."""

import pytest

from policies import call, context
from portcullis.checks.elsewhere import AuthorizeElsewhere
from portcullis.core.call import Action
from portcullis.core.egress import EgressTerms
from portcullis.core.obligation import ColumnMask, MaskTreatment, Obligations
from portcullis.core.verdict import Allow, Deny

MASK = ColumnMask(path=("iban",), treatment=MaskTreatment.MASK)


class Pdp:
    def __init__(self, obligations):
        self.verdict = Allow(rule="roles.r @ f:1", obligations=obligations)

    def decide(self, asked, around):
        return self.verdict


@pytest.mark.parametrize(
    ("obligations", "allowed"),
    [
        (None, True),
        (Obligations(), True),
        (Obligations(log=("to",)), True),
        (Obligations(approvers=1), False),
        (Obligations(approvers=2, log=("to",)), False),
        (Obligations(mask=(MASK,)), False),
    ],
    ids=["nothing", "empty", "log", "approvers", "second", "mask"],
)
def test_a_yes_that_obliges_is_none(obligations, allowed):
    pdp = Pdp(obligations)
    verdict = AuthorizeElsewhere(pdp).judge(call(), context(), None)
    if allowed:
        assert verdict == pdp.verdict
    else:
        assert isinstance(verdict, Deny)
        assert (verdict.code, verdict.rule) == ("PC3035", "roles.r @ f:1")


@pytest.mark.parametrize(
    ("way", "terminate", "allowed"),
    [("connect", True, False), ("connect", False, True), ("request", True, True)],
    ids=["tunnel that is read", "tunnel", "request"],
)
def test_no_tunnel_is_open_elsewhere_that_the_gate_would_read(way, terminate, allowed):
    pdp = Pdp(None)
    pdp.verdict = Allow(rule="roles.r @ f:1", egress=EgressTerms(terminate=terminate))
    asked = call(Action.EGRESS, "x.y", arguments={"way": way})
    verdict = AuthorizeElsewhere(pdp).judge(asked, context(), None)
    assert isinstance(verdict, Allow) is allowed
    assert allowed or verdict.code == "PC3035"
