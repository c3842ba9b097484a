"""What HTTP headers say of limits: those of the IETF's draft, and those that the SDKs know.

``RateLimit-Policy`` and ``RateLimit`` are of draft-ietf-httpapi-ratelimit-headers (from its
revision 08 on), ``Retry-After`` of RFC 9110, section 10.2.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

from portcullis.core.errors import Problem
from portcullis.core.limit_told import Measure, Quota, moment

Headers: TypeAlias = list[tuple[bytes, bytes]]

_UNITS: Final = {
    Measure.INPUT: "input-tokens",
    Measure.OUTPUT: "output-tokens",
    Measure.TOKENS: "tokens",
    Measure.COST: "micro-usd",
    Measure.ROWS: "rows",
    Measure.BYTES: "content-bytes",
    Measure.CONCURRENCY: "concurrent-requests",
}
"""The quota units; without one it is requests."""
_KNOWN: Final[dict[str, dict[str, tuple[Measure, ...]]]] = {
    "openai": {
        "requests": (Measure.REQUESTS,),
        "tokens": (Measure.TOKENS, Measure.INPUT, Measure.OUTPUT),
    },
    "anthropic": {
        "requests": (Measure.REQUESTS,),
        "tokens": (Measure.TOKENS,),
        "input-tokens": (Measure.INPUT,),
        "output-tokens": (Measure.OUTPUT,),
    },
}
"""What the headers of each provider are of; of several limits, the one of which least is left."""


def standing(quotas: Sequence[Quota], api: str = "") -> Headers:
    """The headers of an answer to a call with these limits; ``api`` adds those of a provider."""
    if not quotas:
        return []
    policies, left = [], []
    for quota in quotas:
        unit = _UNITS.get(quota.measure)
        policy = f'"{_name(quota)}";q={quota.ceiling}'
        policy += f";w={round(quota.window)}" if quota.window else ""
        policies.append(policy + (f';qu="{unit}"' if unit else ""))
        if quota.left is not None:
            left.append(f'"{_name(quota)}";r={quota.left};t={quota.seconds}')
    found = [(b"ratelimit-policy", ", ".join(policies).encode("ascii"))]
    if left:
        found.append((b"ratelimit", ", ".join(left).encode("ascii")))
    return [*found, *_provider(quotas, api)]


def refused(problem: Problem, api: str = "") -> Headers:
    """The headers of a refusal: when to try again, and of a limit, how it stands."""
    found: Headers = []
    if problem.retry_after:
        found.append((b"retry-after", str(problem.retry_after).encode("ascii")))
    return [*found, *(standing(problem.over.quotas, api) if problem.over else ())]


def ours(own: Sequence[tuple[bytes, bytes]], theirs: Iterable[tuple[bytes, bytes]]) -> Headers:
    """An upstream's headers, and ours, which stand for those of the same name."""
    names = {name for name, _ in own}
    return [*(pair for pair in theirs if pair[0] not in names), *own]


def _name(quota: Quota) -> str:
    """A limit's name as a Structured Field's string: letters, digits, and what policy allows."""
    return f"{quota.name}:{quota.measure}:{round(quota.window)}"


def _provider(quotas: Sequence[Quota], api: str) -> Iterator[tuple[bytes, bytes]]:
    for what, measures in _KNOWN.get(api, {}).items():
        fitting = [one for one in quotas if one.measure in measures and one.left is not None]
        if not fitting:
            continue
        least = min(fitting, key=lambda one: one.left or 0)
        reset = moment(least.resets_at) if api == "anthropic" else _span(least.seconds)
        if api == "openai":
            names = [f"x-ratelimit-{part}-{what}" for part in ("limit", "remaining", "reset")]
        else:
            names = [
                f"anthropic-ratelimit-{what}-{part}" for part in ("limit", "remaining", "reset")
            ]
        values = (str(least.ceiling), str(least.left), reset)
        for name, value in zip(names, values, strict=True):
            yield name.encode("ascii"), value.encode("ascii")


def _span(seconds: int) -> str:
    """A span of time as OpenAI writes it: ``1s``, ``6m0s``, ``2h0m5s``."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
