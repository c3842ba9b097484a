"""The section about what counts for limits, and the file that ``prices`` names.

Limits themselves are the policy's.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from portcullis.config.common import SECRET, Section

_Dollars = Annotated[Decimal, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class Counters(Section):
    """Where counts are kept, and how a model call is estimated before it goes.

    ``via`` is ``sqlite``, a file in the state directory that all processes of this machine share;
    ``memory``, the same file written behind a count in memory, for a deployment that is one process
    and nothing else (no ``portcullis mcp``, no workers); or ``redis``, Valkey or Redis at ``url``,
    a reference to a secret, since such an address may hold a password. ``output_tokens`` are
    reserved for an answer whose request names no maximum, and a token of input for each
    ``bytes_per_token`` bytes of a request. ``cap_output`` names what is reserved as the maximum of
    such an answer in the request itself, where a limit is of tokens or cost.
    """

    via: Literal["sqlite", "memory", "redis"] = "sqlite"
    url: Annotated[str, Field(pattern=SECRET)] | None = None
    output_tokens: int = Field(default=4096, ge=1, le=10_000_000)
    bytes_per_token: float = Field(default=2.0, ge=1, le=16)
    cap_output: bool = True

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if (self.via == "redis") != (self.url is not None):
            msg = "url is for `via: redis`, which needs one"
            raise ValueError(msg)
        return self


class Tokens(Section):
    """What a million tokens cost in US dollars; ``max_output`` is the most of an answer."""

    input: _Dollars
    output: _Dollars
    cached: _Dollars | None = None
    stored: _Dollars | None = None
    max_output: int = Field(default=0, ge=0, le=100_000_000)


class ModelPrice(Tokens):
    """The price of the models whose names fit a glob; ``api`` narrows it to one shape."""

    model: str = Field(min_length=1, max_length=128)
    api: Literal["openai", "anthropic"] | None = None


class PriceFile(Section):
    """The file of prices. The first that fits holds; ``default`` is for what nobody knows."""

    version: Literal[1]
    models: tuple[ModelPrice, ...] = ()
    default: Tokens | None = None
