"""Evaluates hand-written packages, in a process that may be ended at any moment.

Run as ``python -m portcullis.policy.custom_worker``; standard input is a socket. Each message, in
both directions, is its length (four bytes, the first the highest) and as many bytes:

- ``L`` NAME, a line's end, JSON ``[[[FILE, REGO], ...], DATA]``: keep this under that name;
- ``A`` NAME, a line's end, JSON: what its packages deny of this question;
- ``T`` RULE, a line's end, Rego: whether the rule of this module can be evaluated of nothing.

The answer begins with ``+``, or with ``-`` and what went wrong. Of what does not end, or takes more
memory than ``BYTES``, this process ends: who asked sees that, and denies.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import Any, Final

import regorus

SECONDS: Final = 1.0
"""A question's, on the clock on the wall."""
LOADING: Final = 20.0
"""Of a policy's first question, and of a module that is tried."""
BYTES: Final = 256 * 2**20
"""Address space of the whole process, of which it needs a fifth itself."""
KEPT: Final = 3
"""Policies; of one more, the oldest is forgotten."""
HEADER: Final = 4
DENIALS: Final = "data.portcullis.handwritten.denials"


def main() -> None:
    """Answer until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # that is for whoever asks
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    engines: dict[bytes, Any] = {}
    while header := _read(HEADER):
        message = _read(int.from_bytes(header, "big"))
        kind, (name, _, body) = message[:1], message[1:].partition(b"\n")
        # Who asked ends this process before; the timer is for when he is gone himself.
        signal.setitimer(signal.ITIMER_REAL, 2 * (SECONDS if kind == b"A" else LOADING))
        try:
            said = b"+" + _answered(engines, kind, name, body)
        except BaseException as error:  # noqa: BLE001 - a Rust panic is no Exception
            engines.pop(name, None)  # an engine that failed is not used again
            said = b"-" + str(error).encode("utf-8", "replace")
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(len(said).to_bytes(HEADER, "big") + said)


def _answered(engines: dict[bytes, Any], kind: bytes, name: bytes, body: bytes) -> bytes:
    if kind == b"A":
        engine = engines[name]
        engine.set_input_json(body.decode())
        answer: str = engine.eval_rule_as_json(DENIALS)
        return answer.encode()
    engine = regorus.Engine()
    if kind == b"T":
        engine.add_policy("module.rego", body.decode())
        engine.set_input_json("{}")
        engine.eval_rule_as_json(name.decode())
        return b""
    modules, data = json.loads(body)
    for file, text in modules:
        engine.add_policy(file, text)
    engine.add_data_json(data)
    while len(engines) >= KEPT:
        del engines[next(iter(engines))]
    engines[name] = engine
    return b""


def _read(size: int) -> bytes:
    """So many bytes; none when there is nobody at the other end."""
    parts = []
    while size:
        part = os.read(sys.stdin.fileno(), min(size, 2**20))
        if not part:
            return b""
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _write(message: bytes) -> None:
    left = memoryview(message)
    while left:
        left = left[os.write(sys.stdin.fileno(), left) :]


if __name__ == "__main__":
    main()
