"""What models cost: a file of the operator's, then the library ``genai-prices``.

The library is data and matching: it opens no connection and starts no thread unless it is told
to update itself, which nobody does here. It takes about half a second and some tens of megabytes
when it is first asked, and a quarter of a millisecond for a price: each is asked for once.
"""

from __future__ import annotations

import math
import threading
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from portcullis.config.counters import PriceFile, Tokens
from portcullis.config.yaml import Unreadable, compose, construct
from portcullis.core.errors import Problem
from portcullis.core.limit_ports import Price
from portcullis.core.limits import fits
from portcullis.core.ports import Clock

_REMEMBERED: Final = 4096
_LONGEST: Final = 128
"""The longest name of a model that the library is asked for."""
_NANOS: Final = 1000
"""Billionths of a dollar for a token, of a dollar for a million tokens."""
_DAY: Final = 86400


class ModelPrices:
    """Implements ``core.limit_ports.Prices``. ``file`` comes before the library.

    ``warm`` makes it ready, and blocks. Prices are
    those of the day. Raises Problem PC7001 for a file that is none, with line and key.
    """

    def __init__(self, file: Path | None, clock: Clock) -> None:
        self._own = read_prices(file) if file else None
        self._clock = clock
        self._known: dict[tuple[str, str], Price | None] = {}
        self._day = 0.0
        self._lock = threading.Lock()
        self._ready = False

    @property
    def ready(self) -> bool:
        """See Prices."""
        return self._ready

    def warm(self) -> None:
        """Load the library."""
        with self._lock:
            _library()
            self._ready = True

    def price(self, api: str, model: str) -> Price | None:
        """What a model costs now, None when nobody knows."""
        today = self._clock.now() // _DAY
        if today != self._day or len(self._known) >= _REMEMBERED:
            self._day, self._known = today, {}
        key = (api, model)
        if len(model) > _LONGEST:  # agents choose names: none is worth keeping that is so long
            return self._found(api, model)
        if key not in self._known:
            self._known[key] = self._found(api, model)
        return self._known[key]

    def _found(self, api: str, model: str) -> Price | None:
        own = self._own
        for one in own.models if own else ():
            if one.api in {None, api} and fits(one.model, model):
                return _said(one)
        listed = None
        if len(model) <= _LONGEST:  # the library takes seconds over a name of megabytes
            listed = _listed(api, model, datetime.fromtimestamp(self._clock.now(), UTC))
            self._ready = True
        return listed or (_said(own.default) if own and own.default else None)


def read_prices(path: Path) -> PriceFile:
    """A file of prices, YAML or JSON. Raises Problem PC7001 with its line and key."""
    try:
        root = compose(path.read_text(encoding="utf-8"))
        return PriceFile.model_validate(construct(root))
    except (OSError, UnicodeDecodeError) as error:
        raise Problem("PC7001", f"cannot read {path}: {error}") from None
    except Unreadable as fault:
        detail = f"{path}:{fault.line}: {fault.reason}"
        raise Problem("PC7001", detail, hint=fault.hint) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        line = _line(root, first["loc"])
        raise Problem("PC7001", f"{path}:{line}: {place}: {first['msg']}") from None


def _line(node: yaml.Node | None, path: tuple[Any, ...]) -> int:
    """The line of what ``path`` leads to, as far as there is any."""
    found = 1
    for step in path:
        if node is None:
            break
        found = node.start_mark.line + 1
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step] if step < len(node.value) else None
        elif isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == step), None)
        else:
            node = None
    return node.start_mark.line + 1 if node is not None else found


def _said(tokens: Tokens) -> Price:
    read, written = _nanos(tokens.input), _nanos(tokens.output)
    cached = read if tokens.cached is None else _nanos(tokens.cached)
    stored = read if tokens.stored is None else _nanos(tokens.stored)
    steps = ((0, read, written, cached, stored),)
    return Price(steps=steps, most=tokens.max_output, audio=(read, written))


@lru_cache(maxsize=1)
def _library() -> Any:
    """The library's data, loaded once."""
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - slow, and rarely needed

    return get_snapshot()


def _listed(api: str, model: str, at: datetime) -> Price | None:
    """What the library says of a model of a provider."""
    try:
        _, found = _library().find_provider_model(model, None, api, None)
        prices = found.get_prices(at)
    except LookupError:
        return None
    read, written = getattr(prices, "input_mtok", None), getattr(prices, "output_mtok", None)
    if read is None:
        return None
    cached = getattr(prices, "cache_read_mtok", None)
    stored = getattr(prices, "cache_write_1h_mtok", None)
    stored = stored if stored is not None else getattr(prices, "cache_write_mtok", None)
    each = (
        read,
        Decimal(0) if written is None else written,
        read if cached is None else cached,
        read if stored is None else stored,
    )
    starts = sorted({0, *(tier.start for one in each for tier in _tiers(one))})
    sound = tuple(_most(getattr(prices, f"{way}_audio_mtok", None)) for way in ("input", "output"))
    return Price(steps=tuple(_step(start, each) for start in starts), audio=(sound[0], sound[1]))


def _step(start: int, each: tuple[Any, Any, Any, Any]) -> tuple[int, int, int, int, int]:
    read, written, cached, stored = (_at(one, start) for one in each)
    return start, read, written, cached, stored


def _at(price: Any, start: int) -> int:
    """A price from so many input tokens on: one number, or tiers of which the last holds."""
    if isinstance(price, Decimal):
        return _nanos(price)
    found = price.base
    for tier in price.tiers:
        if start >= tier.start:
            found = tier.price
    return _nanos(found)


def _tiers(price: Any) -> Any:
    return getattr(price, "tiers", ())


def _most(price: Any) -> int:
    """The highest that a price rises to, 0 for none."""
    if price is None:
        return 0
    return max(_at(price, start) for start in (0, *(tier.start for tier in _tiers(price))))


def _nanos(dollars: Decimal) -> int:
    """Billionths of a dollar for a token, rounded up."""
    return math.ceil(dollars * _NANOS)
