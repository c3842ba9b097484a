"""How LiteLLM's proxy knows its agent: loaded by it, in an environment that has nothing of ours."""

import hmac
import os
from importlib import import_module
from typing import Any


async def user_api_key_auth(request: Any, api_key: str) -> Any:
    """The one agent there is; 401 for any other key."""
    del request
    fastapi: Any = import_module("fastapi")
    types: Any = import_module("litellm.proxy._types")
    if not hmac.compare_digest(api_key, os.environ["BENCH_KEY"]):
        raise fastapi.HTTPException(401, "unknown key")
    return types.UserAPIKeyAuth(api_key=api_key, user_id="bench-agent")
