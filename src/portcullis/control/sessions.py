"""Sessions: an application opens one task of one agent for one user, and vouches for its prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec

from portcullis.catalogue.schema import fault, named
from portcullis.config import Tokens
from portcullis.control.principals import Principals
from portcullis.control.records import Records
from portcullis.core.call import Context
from portcullis.core.errors import Problem
from portcullis.core.inspection_ports import Pins
from portcullis.core.ports import Clock
from portcullis.core.principal import Measure, PrincipalKind, Session, TaskBound
from portcullis.core.session_ports import SessionState, Spending
from portcullis.identity.tokens import Actor, Grant, Minted, TokenAuthority
from portcullis.wire.json import digest

_TURNS: Final = 256
_WORDS: Final = 262_144
"""Most turns of a user's in one session, and most characters in all of them."""


class Sessions:
    """Opens, shows and closes sessions for applications; each sees its own only."""

    def __init__(
        self,
        *,
        state: SessionState,
        spending: Spending,
        principals: Principals,
        authority: TokenAuthority,
        records: Records,
        clock: Clock,
        tokens: Tokens,
        pins: Pins,
        new_id: Callable[[], str],
    ) -> None:
        self._state = state
        self._spending = spending
        self._principals = principals
        self._authority = authority
        self._records = records
        self._clock = clock
        self._longest = tokens.session_ttl_seconds
        self._pins = pins
        self._new_id = new_id
        self._saying = asyncio.Lock()

    async def open(
        self,
        context: Context,
        *,
        agent: str,
        user: str,
        prompt: str,
        subject: dict[str, Any],
        tools: tuple[str, ...] | None,
        bounds: dict[str, tuple[TaskBound, ...]] | None = None,
        ttl: int | None,
        issuer: str = "",
        output_schema: dict[str, Any] | None = None,
        budget: dict[Measure, int] | None = None,
    ) -> tuple[Session, Minted]:
        """Open a session of ``context``'s application and make the delegation for its agent.

        Both end together. ``bounds`` are the task's, on the arguments of its tools; ``budget`` is
        how much it may do, and is never raised. ``issuer`` is
        who vouched for the user, when that is not the application. Raises Problem PC2007, PC4001
        or PC4002 when the agent is not there or may not act, PC1020 when ``ttl`` is longer than
        configured, ``output_schema``, which models' answers have to fit, cannot be enforced, or a
        bound is on an argument that the tool, as it is pinned, does not have.
        """
        if bounds:
            await asyncio.to_thread(self._refuse_idle, bounds)
        unusable = None if output_schema is None else fault(output_schema)
        if unusable is not None:
            raise Problem("PC1020", f"output_schema: {unusable}")
        if ttl is not None and ttl > self._longest:
            raise Problem("PC1020", f"ttl_seconds is more than {self._longest}")
        await self._principals.present(PrincipalKind.AGENT, agent)
        lifetime = ttl or self._longest
        opened_at = self._clock.now()
        now = int(opened_at)
        session = Session(
            id=self._new_id(),
            agent=agent,
            application=context.principal.id,
            user=user,
            prompt=prompt,
            subject=subject,
            grant=tools,
            opened_at=opened_at,
            expires_at=now + lifetime,
            output_schema=output_schema,
            bounds=bounds or {},
            budget=budget or {},
        )
        grant = Grant(
            sub=f"user:{session.id}",
            client_id=f"application:{session.application}",
            auth_time=now,
            sid=session.id,
            may_act=Actor(f"agent:{agent}"),
        )
        minted = self._authority.issue(grant, expires_at=now + lifetime)
        await self._records.act(
            context,
            "sessions.open",
            f"agent:{agent}",
            route="api",
            parameters={
                "credential": minted.id,
                "expires_at": int(session.expires_at),
                "tools": None if tools is None else list(tools),
            }
            | ({"issuer": issuer} if issuer else {})
            | ({} if output_schema is None else {"output_schema": digest(output_schema)})
            | ({"budget": dict(session.budget)} if session.budget else {}),
            session=session,
        )
        await self._state.open(session)
        return session, minted

    def _refuse_idle(self, bounds: dict[str, tuple[TaskBound, ...]]) -> None:
        """Refuse a bound that no call could keep: such a tool has no such argument."""
        for pin in self._pins.all():
            tool = f"{pin.server}.{pin.tool}"
            if tool not in bounds:
                continue
            known = named(msgspec.json.decode(pin.definition).get("inputSchema"))
            for bound in bounds[tool]:
                if known is not None and bound.argument not in known:
                    hint = "See `portcullis catalogue list` for what it takes."
                    detail = f"tools: {tool} has no argument {bound.argument}"
                    raise Problem("PC1020", detail, hint=hint)

    async def get(self, context: Context, session_id: str) -> Session:
        """An open session of the application's own. Raises Problem PC2010 for any other."""
        session = await self._state.get(session_id)
        if session is None or session.application != context.principal.id:
            raise Problem("PC2010", "the application has no open session of this id")
        return session

    async def left(self, session: Session) -> dict[Measure, int]:
        """What is left of a session's budget. Raises Problem PC9002 when it cannot be read."""
        return await self._spending.left(session)

    async def say(self, context: Context, session_id: str, text: str) -> Session:
        """Add what the user said next to a session of the application's own.

        Raises Problem PC2010 for any other, PC1020 when the user has said too much.
        """
        async with self._saying:
            session = await self.get(context, session_id)
            if len(session.turns) >= _TURNS or sum(map(len, session.prompts)) + len(text) > _WORDS:
                raise Problem("PC1020", f"a session has {_TURNS} turns of {_WORDS} characters")
            turn = msgspec.structs.replace(session, prompt=text)
            await self._records.act(
                context,
                "sessions.turn",
                f"agent:{session.agent}",
                route="api",
                parameters={"turn": len(session.turns) + 1},
                session=turn,
            )
            said = await self._state.say(session_id, text)
        if said is None:
            raise Problem("PC2010", "the session has ended")
        return said

    async def close(self, context: Context, session_id: str) -> None:
        """End a session: its tokens are refused from the next request on. Problem PC2010.

        Raises Problem PC9002 while that would not outlive a restart; it can be closed again then.
        """
        session = self._state.closing(session_id)
        if session is None or session.application != context.principal.id:
            session = await self.get(context, session_id)
            await self._records.act(
                context, "sessions.close", f"agent:{session.agent}", route="api", session=session
            )
        await self._state.close(session_id)
