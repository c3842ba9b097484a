"""A deployment without a gate, in which calls wait for a human."""

from types import SimpleNamespace

from portcullis.bootstrap.keys import keys_of
from portcullis.config import load
from portcullis.core.approval import Approval, Shown, State, Step
from portcullis.core.call import RiskClass
from portcullis.core.principal import TaskBound
from portcullis.identity.sealing import Envelope
from portcullis.oversight.sealing import seal
from portcullis.store.approvals import SqlApprovals
from portcullis.store.engine import open_sqlite

NOW = 4_000_000_000.0


def shown(**changes):
    fields = {
        "agents": ("shop-1", "boss"),
        "application": "web",
        "user": "grace",
        "prompts": ("Pay the bill",),
        "subject": {"customer_id": "C-1"},
        "grant": ("bank.pay",),
        "bounds": {"bank.pay": (TaskBound(argument="amount", kind="maximum", value=7),)},
        "called": "pay",
        "method": "tools/call",
        "arguments": {"to": "DE1 \u202e\x1b[2J", "amount": 5},
        "request": {},
        "reason": "no source: destination",
        "rule": "",
        "questions": ("Is this account the user's?",),
        "recent": (Step(at=1.5, what="tools/call bank.list", risk="read", verdict="allow"),),
    }
    return Shown(**(fields | changes))


def approval(approval_id, **changes):
    fields = {
        "id": approval_id,
        "state": State.PENDING,
        "binding": approval_id * 32,
        "agent": "shop-1",
        "session": "s1",
        "action": "tool",
        "server": "bank",
        "name": "pay",
        "risk": RiskClass.EXTERNAL,
        "created_at": 1000.0,
        "expires_at": NOW,
    }
    return Approval(**(fields | changes))


def deployed(folder):
    """``file`` is its configuration; ``ask(id, call, ...)`` makes one more call wait.

    ``call`` changes what is shown, the rest the approval.
    """
    file = folder / "portcullis.yaml"
    file.write_text(
        f"trust_domain: example.test\nstate: {folder / 'state'}\napprovals: {{refusals: 2}}\n"
    )
    config = load(file)
    engine = open_sqlite(config.state / "portcullis.db")
    store, sealer = SqlApprovals(engine), Envelope(keys_of(config, create=True))

    def ask(approval_id, call=None, **changes):
        one = approval(approval_id, **changes)
        content = seal(sealer, approval_id, shown(**(call or {})))
        store.claim(one, content, most=99, now=1000.0)

    return SimpleNamespace(file=file, config=config, store=store, ask=ask, close=engine.dispose)
