"""The stand-in and the tool servers alone, with official clients in front of them."""

import secrets
from collections.abc import AsyncIterator

import anthropic
import openai
import pytest

from portcullis.demo.model import StandinModel
from portcullis.demo.serve import serving


@pytest.fixture
def credential() -> str:
    return secrets.token_urlsafe(24)


@pytest.fixture
def model(credential) -> StandinModel:
    return StandinModel(credential=credential)


@pytest.fixture
async def model_url(model) -> AsyncIterator[str]:
    async with serving(model) as url:
        yield url


@pytest.fixture
async def gpt(model_url, credential) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{model_url}/v1", api_key=credential, max_retries=0, timeout=10
    ) as client:
        yield client


@pytest.fixture
async def claude(model_url, credential) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=model_url, api_key=credential, max_retries=0, timeout=10
    ) as client:
        yield client
