"""The forging steps by the names that cases.yaml uses."""

from collections.abc import Awaitable, Callable
from typing import Any

from e2e.identity.theft.deployment import Answer

Twist = Callable[..., Awaitable[Answer]]
TWISTS: dict[str, Twist] = {}


def twist(step: Any) -> Any:
    TWISTS[step.__name__] = step
    return step
