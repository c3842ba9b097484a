"""A shop whose tools are functions of the agent's own program, and the gate that they ask.

The gate runs on a thread of its own: what is tested may block the test's.
"""

import asyncio
import contextlib
import itertools
import threading
from dataclasses import dataclass, field

import yaml

import needles
import standins
from portcullis.client.guard import Guard
from portcullis.core.approval import State
from portcullis.core.lifecycle import Verb
from portcullis.core.principal import PrincipalKind
from portcullis.demo.stage import _operator

AGENT = "shop-0"
SECRET = needles.token()
TOOLSETS = ("python", "langchain", "openai", "pydantic")
"""One for each way of describing a tool: what was seen first is what is let through."""
AGENTS = (AGENT, *(f"{AGENT}-{tools}-{kind}" for tools in TOOLSETS for kind in ("sync", "async")))
"""All but the first lose their lives."""


def policy():
    text = yaml.safe_load(standins.support_policy())
    text["agents"] |= {name: {"role": "shop", "owner": "demo"} for name in AGENTS}
    text["roles"]["shop"] = {
        "allowed_tools": [f"{tools}.{tool}" for tools in TOOLSETS for tool in ("lookup", "refund")],
        "inspection": {
            "to_tool": {"IBAN_CODE": "hold", "EMAIL_ADDRESS": "mask"},
            "from_tool": {"secret": "mask"},
        },
    }
    for tools in TOOLSETS:
        text["tools"][f"{tools}.lookup"] = {"risk": "read"}
        text["tools"][f"{tools}.refund"] = {"risk": "modify"}
    text["roles"]["shop"]["allowed_tools"].append("python.book")
    text["tools"]["python.book"] = {"risk": "modify"}
    return yaml.safe_dump(text)


@dataclass
class Shop:
    """``done`` is what was really done; ``during`` runs while ``lookup`` does."""

    loop: asyncio.AbstractEventLoop
    stage: standins.Stage
    application: str
    done: list = field(default_factory=list)
    during: object = None
    numbers: itertools.count = field(default_factory=itertools.count)

    def do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def token(self, agent=AGENT):
        opened = self.stage.open_session(self.application, agent, subject=standins.SUBJECT)
        return self.do(opened)[1]

    def guard(self, toolset, agent=AGENT, **options):
        """A guard over plain loopback, in a new session of the agent's unless told otherwise."""
        if "delegation" not in options:
            options["delegation"] = self.token(agent)
        if "access" not in options:
            options.setdefault("url", self.stage.gate.gate_url)
        return Guard(options.pop("access", None), toolset=toolset, **options)

    def approve(self, approval):
        self.do(self.stage.approve(approval, "asked the customer"))

    def deciding(self, verb):
        """Decide on whatever comes to wait next."""
        approvals = self.stage.gate.services.approvals("demo")

        async def waiting():
            return {each.id for each in await approvals.list({State.PENDING})}

        async def decide(before):
            async with asyncio.timeout(10):
                while not (new := await waiting() - before):  # noqa: ASYNC110 - another's
                    await asyncio.sleep(0.02)
            await getattr(approvals, verb)(_operator(), new.pop(), "asked the customer")

        return asyncio.run_coroutine_threadsafe(decide(self.do(waiting())), self.loop)

    def suspend(self, agent):
        async def change():
            principals = self.stage.gate.services.principals("demo")
            await principals.change(_operator(), PrincipalKind.AGENT, agent, Verb.SUSPEND)

        self.do(change())

    def held(self):
        """Arguments that a human has to decide on, others each time."""
        account = "DE89370400440532013000"
        return {"order": "O-5001", "amount": 1.0 + next(self.numbers), "note": f"to {account}"}

    def functions(self, *, asynchronous):
        """The same three tools, sync or async."""

        def lookup(order: str, limit: int = 5) -> str:
            """Look an order up."""
            self.done.append(("lookup", order, limit))
            if self.during is not None:
                self.during()
            return f"{order} was paid with {SECRET}"

        def refund(order: str, amount: float, note: str = "") -> str:
            """Pay an order back."""
            self.done.append(("refund", order, amount, note))
            if amount < 0:
                raise ArithmeticError(f"{SECRET} cannot be paid")
            return f"paid {amount}"

        def remove(order: str) -> str:
            """Delete an order."""
            self.done.append(("remove", order))
            return "gone"

        return _awaited(lookup, refund, remove) if asynchronous else (lookup, refund, remove)


def _awaited(lookup, refund, remove):
    async def alookup(order: str, limit: int = 5) -> str:
        """Look an order up."""
        return await asyncio.to_thread(lookup, order, limit)

    async def arefund(order: str, amount: float, note: str = "") -> str:
        """Pay an order back."""
        return refund(order, amount, note)

    async def aremove(order: str) -> str:
        """Delete an order."""
        return remove(order)

    for function, name in ((alookup, "lookup"), (arefund, "refund"), (aremove, "remove")):
        function.__name__ = name
    return alookup, arefund, aremove


@contextlib.contextmanager
def opened(folder):
    """A shop behind a gate."""
    ready, stop = threading.Event(), asyncio.Event()
    made = []

    async def run():
        settings = {
            "guard": {name: {} for name in TOOLSETS},
            "approvals": {"refusals": 100, "pending_per_agent": 100},
        }
        async with standins.staged(folder, policy=policy(), settings=settings) as stage:
            for name in AGENTS:
                await stage.create(PrincipalKind.AGENT, name, owner="shopkeepers")
            application = await stage.register(PrincipalKind.APPLICATION, "storefront")
            made.append(Shop(asyncio.get_running_loop(), stage, application))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert ready.wait(60)
        yield made[0]
    finally:
        if made:
            made[0].loop.call_soon_threadsafe(stop.set)
        thread.join(30)
