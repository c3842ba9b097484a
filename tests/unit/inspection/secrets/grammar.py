"""Positive examples of a rule, made from the rule's own pattern.

``example`` walks the parsed pattern with random choices until what it made has the entropy and
passes the validator that the rule asks for. Where chance would not find what a validator wants
(base64 of something), the datum is made by ``MAKERS``.
"""

import base64
import json
import string
from random import Random

from portcullis.inspection.matcher import entropy
from portcullis.inspection.rules import Rule
from portcullis.inspection.syntax import Alt, Cat, Char, Edge, Node, Rep
from portcullis.inspection.validators import VALIDATORS

_USUAL = string.ascii_letters + string.digits
_PRINTABLE = "".join(map(chr, range(32, 127)))


def walk(node: Node, chance: Random, *, short: bool = False) -> str:
    """A text that matches the node; ``short`` prefers few repeats."""
    match node:
        case Char(ranges):
            for alphabet in (_USUAL, _PRINTABLE, "\n\t"):
                fit = [c for c in alphabet if any(low <= ord(c) <= high for low, high in ranges)]
                if fit:
                    return chance.choice(fit)
            return chr(ranges[0][0])
        case Cat(parts):
            return "".join(walk(part, chance, short=short) for part in parts)
        case Alt(options):
            return walk(chance.choice(options), chance, short=short)
        case Rep(body, low, high, _):
            most = low + 2 if short else low + 40
            times = chance.randint(low, min(high, most))
            return "".join(walk(body, chance, short=short) for _ in range(times))
        case Edge():
            return ""


def example(rule: Rule, chance: Random, *, short: bool = False) -> tuple[str, str, str]:
    """What stands before the datum, a datum that the rule must find, and what stands after."""
    assert rule.parsed is not None
    before, after = (
        walk(node, chance, short=short) for node in (rule.parsed.before, rule.parsed.after)
    )
    for _ in range(2000):
        make = MAKERS.get(rule.validator)
        datum = make(chance) if make else walk(rule.parsed.datum, chance, short=short)
        if entropy(datum.encode()) < rule.entropy:
            continue
        if not rule.validator or VALIDATORS[rule.validator](datum):
            return before, datum, after
    raise AssertionError(f"rule {rule.id}: nothing that it makes passes its own validator")


def _jwt(chance: Random) -> str:
    header = {"alg": chance.choice(["HS256", "ES256", "EdDSA"]), "kid": f"{chance.random()}"}
    parts = [json.dumps(part).encode() for part in (header, {"sub": chance.random()})]
    parts.append(chance.randbytes(chance.randint(8, 64)))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def _basic(chance: Random) -> str:
    name, secret = ("".join(chance.choices(_USUAL, k=chance.randint(4, 20))) for _ in range(2))
    return base64.b64encode(f"{name}:{secret}".encode()).decode()


def _pem(chance: Random) -> str:
    kind = chance.choice(["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
    body = base64.b64encode(chance.randbytes(chance.randint(60, 1200))).decode()
    end = chance.choice(["\n", "\r\n", "\\n"])
    lines = [body[place : place + 64] for place in range(0, len(body), 64)]
    ends = (f"-----{edge} {kind}PRIVATE KEY-----" for edge in ("BEGIN", "END"))
    return end.join((next(ends), *lines, next(ends)))


def _pem_base64(chance: Random) -> str:
    return base64.b64encode(_pem(chance).encode()).decode()


MAKERS = {
    "jwt": _jwt,
    "basic": _basic,
    "pem": _pem,
    "pem_base64": _pem_base64,
}
