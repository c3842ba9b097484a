"""A channel of notifications whose clock, other end and process are the test's."""

import contextlib

from pydantic import TypeAdapter

from databases import new_database
from portcullis.config.notifications import AnyChannel
from portcullis.core.approval import Approval, State
from portcullis.core.call import RiskClass
from portcullis.core.errors import Problem
from portcullis.core.notice_ports import Later, Never
from portcullis.oversight.telling import Channel
from portcullis.store.approvals import SqlApprovals
from portcullis.store.notices import SqlNotices


class Killed(BaseException):
    """The process is gone."""


class World:
    """The database, the clock, and a channel's other end: ``fails`` says what it does next."""

    def __init__(self, folder, *, amends=False, **settings):
        self.time = 1_800_000_000.0
        self.engine = new_database(folder / "portcullis.db")
        self.approvals = SqlApprovals(self.engine)
        self.notices = SqlNotices(self.engine)
        self.amends = amends
        self.settings = settings
        self.sent, self.fails, self.events, self.full = [], [], [], False
        self.channel = self.started()

    def started(self):
        """A gate's side of the channel, after a start."""
        hook = {"kind": "webhook", "url": "https://x.example/in", "secrets": ["env:K"]}
        settings = ({} if "kind" in self.settings else hook) | self.settings
        return Channel(
            "ops",
            TypeAdapter(AnyChannel).validate_python(settings),
            self,
            store=self.notices,
            approvals=self.approvals,
            clock=self,
            noticed=self.noticed,
            origin=lambda: "https://console.example",
        )

    def now(self):
        return self.time

    def monotonic(self):
        return self.time

    def noticed(self, method, said):
        if self.full:
            raise Problem("PC6001", "full")
        self.events.append((method, said))

    async def tell(self, message, reference):
        fault = self.fails.pop(0) if self.fails else None
        if isinstance(fault, Later | Never) and not getattr(fault, "arrived", False):
            raise fault
        self.sent.append((message, reference))
        if fault is not None:
            raise fault
        return "ref-1"

    async def close(self):
        pass

    def again(self, **settings):
        """The gate is started anew with another configuration."""
        self.settings = settings
        self.channel = self.started()

    def asks(
        self,
        name,
        *,
        agent="shop-1",
        tool="send",
        risk=RiskClass.EXTERNAL,
        server="mail",
        action="tool",
    ):
        one = Approval(
            id=name,
            state=State.PENDING,
            binding=name * 2,
            agent=agent,
            session="s1",
            action=action,
            server=server,
            name=tool,
            risk=risk,
            why="without a source: recipient",
            created_at=self.time,
            expires_at=self.time + 90_000,
        )
        self.approvals.claim(one, b"x", most=10_000, now=self.time)

    def moves(self, name, verb, **said):
        assert self.approvals.move(name, verb, now=self.time, **said)

    async def runs(self, seconds=0.0):
        """Let time pass, and everything be told that may be."""
        self.time += seconds
        await self.channel.look()
        while await self.channel.step():
            await self.channel.look()

    @property
    def told(self):
        """What arrived: the stage of each approval, message by message."""
        return [{one.id: one.stage for one in message.subjects} for message, _ in self.sent]

    @property
    def ids(self):
        return [message.id for message, _ in self.sent]


@contextlib.contextmanager
def worlds(folder):
    """Makes worlds in this folder, and lets their databases go."""
    with contextlib.ExitStack() as stack:

        def made(**settings):
            world = World(folder, **settings)
            stack.callback(world.engine.dispose)
            return world

        yield made
