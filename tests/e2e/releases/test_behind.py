"""If this fails, a gate goes on for ever by a policy that is not in force any more."""

import asyncio
import contextlib
import sqlite3

import openai
import pytest

import standins
from portcullis.core.release import File, Release, Stage, Verb, text_digest

pytestmark = pytest.mark.anyio
PATIENCE = 2.0
SETTINGS = {"policy_changes": {"approvals": 1}}


async def said(stage, token):
    """What comes of a request: nothing, or the code of its refusal."""
    async with standins.openai_client(stage, token) as client:
        try:
            await client.chat.completions.create(
                model="gpt-standin", messages=[{"role": "user", "content": "Hello"}]
            )
        except openai.APIStatusError as error:
            return error.body["code"]
    return ""


async def becomes(stage, token, code):
    async with asyncio.timeout(60):
        while await said(stage, token) != code:  # noqa: ASYNC110 - it is asked each time
            await asyncio.sleep(0.1)


async def test_a_gate_that_cannot_take_the_active_release_refuses_everything_until_it_can(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("portcullis.bootstrap.governed.BEHIND_SECONDS", PATIENCE)
    monkeypatch.setattr("portcullis.policy.delivery._AGAIN_SECONDS", 0.5)
    text = standins.support_policy()
    async with standins.staged(tmp_path, policy=text, settings=SETTINGS) as stage:
        token = await standins.agent_token(stage)
        await becomes(stage, token, "")
        book = stage.gate.services.release_parts.book
        files = (File(name="policy/support.yaml", text=f"{text}# tighter\n"),)
        release = Release(
            number=0,
            digest="",
            text=text_digest(files),
            origin="operator",
            proposed_by="ann",
            proposed_at=1.0,
            stage=Stage.APPROVED,
        )
        number = book.propose(release, files).number
        with contextlib.closing(sqlite3.connect(stage.config.parent / "state/portcullis.db")) as db:
            query = "SELECT sealed FROM policy_texts WHERE number = ?"
            ((sealed,),) = db.execute(query, (number,)).fetchall()

            def write(content):
                with db:
                    db.execute(
                        "UPDATE policy_texts SET sealed = ? WHERE number = ?", (content, number)
                    )

            write(sealed[:-1] + bytes([sealed[-1] ^ 1]))
            book.move(number, Verb.ACTIVATE, by="ann", at=2.0)
            await becomes(stage, token, "PC4006")
            refused = [one for one in stage.events() if one.code == "PC7038"]
            assert len(refused) == 1, "it is said once why"
            write(sealed)
            await becomes(stage, token, "")
