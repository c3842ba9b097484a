"""If these fail, an agent's content stands in the log, or a header or a model's name does more
than was decided on."""

import aiohttp
import openai
import pytest

from standins import agent_token, eventually, openai_client, session_token, staged

pytestmark = pytest.mark.anyio

CONTENT = "ssn 078-05-1120 of Ada"
CHAT = {"model": "gpt-standin", "messages": [{"role": "user", "content": "hello"}]}


async def post(stage, path, body, **headers):
    headers["authorization"] = f"Bearer {await agent_token(stage)}"
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{stage.gate.gate_url}{path}", json=body, headers=headers) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


@pytest.mark.parametrize("header", ["openai-beta", "anthropic-beta"])
async def test_a_beta_header_carries_no_content_into_the_log(tmp_path, header):
    async with staged(tmp_path) as stage:
        status, body = await post(stage, "/openai/v1/chat/completions", CHAT, **{header: CONTENT})
        assert (status, body["error"]["code"]) == (400, "PC1011")
        await eventually(stage, lambda event: event.code == "PC1011")
        assert "078-05" not in repr(stage.events())


async def test_no_header_takes_content_to_a_model_unread(tmp_path):
    async with staged(tmp_path) as stage:
        async with openai_client(stage, await agent_token(stage)) as client:
            for header in ("anthropic-version", "x-stainless-retry-count"):
                said = {header: "078-05-1120"}
                with pytest.raises(openai.BadRequestError, match="PC1011"):
                    await client.chat.completions.create(**CHAT, extra_headers=said)
        assert not stage.model.seen


async def test_a_path_carries_no_content_into_the_log(tmp_path):
    async with staged(tmp_path) as stage:
        status, _ = await post(stage, f"/mcp/{CONTENT}", {})
        assert status == 404
        await eventually(stage, lambda event: event.code == "PC5012")
        assert "078-05" not in repr(stage.events())


async def test_a_model_that_searches_the_web_by_itself_is_refused(tmp_path):
    async with staged(tmp_path) as stage:
        asked = {**CHAT, "model": "gpt-4o-search-preview"}
        status, body = await post(stage, "/openai/v1/chat/completions", asked)
        assert (status, body["error"]["code"]) == (403, "PC3006")
        denied = await eventually(stage, lambda event: event.code == "PC3006")
        assert denied.features == ("openai.web_search",)
        assert not stage.model.seen


async def test_an_agent_cannot_ask_for_the_answer_to_anothers_idempotency_key(tmp_path):
    async with staged(tmp_path) as stage:
        tokens = [
            await agent_token(stage, application="first"),
            await session_token(stage, application="second"),
        ]
        sent = []
        for token in (*tokens, tokens[0]):
            headers = {"idempotency-key": "guessed"}
            async with openai_client(stage, token) as client:
                await client.chat.completions.create(**CHAT, extra_headers=headers)
            sent.append(dict(stage.model.seen[-1].headers)["idempotency-key"])
        assert sent[0] == sent[2] != sent[1]
