"""If these fail, a credential is printed, copied or compared where somebody can see or time it."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback

import msgspec
import pytest

from portcullis.core.secret import Secret, redacted

VALUE = "sk-very-secret-value"


def test_no_way_of_showing_a_secret_shows_it():
    secret = Secret(VALUE)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", "{}".format(secret)]  # noqa: UP032 - one of the ways
    shown += [repr([secret]), repr({"key": secret}), format(secret, "s"), ascii(secret)]
    record = logging.LogRecord("x", 20, "x", 1, "with %s", (secret,), None)
    shown.append(record.getMessage())
    try:
        raise ValueError(secret)
    except ValueError as error:
        shown.append("".join(traceback.format_exception(error)))
    assert all(VALUE not in one for one in shown)
    assert secret.reveal() == VALUE


@pytest.mark.parametrize(
    "carry",
    [copy.copy, copy.deepcopy, pickle.dumps, json.dumps, msgspec.json.encode, hash, vars],
    ids=["copy", "deepcopy", "pickle", "json", "msgspec", "hash", "vars"],
)
def test_a_secret_is_not_carried_off(carry):
    with pytest.raises((TypeError, NotImplementedError)):
        carry(Secret(VALUE))


def test_secrets_are_compared_by_value():
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) == VALUE
    assert Secret(VALUE) != Secret(VALUE + "x")
    assert Secret(VALUE) != 1
    assert bool(Secret(VALUE))
    assert len(Secret(VALUE)) == len(VALUE)


def test_its_bytes_are_overwritten_when_nobody_holds_it():
    secret = Secret(VALUE)
    kept = secret._value
    assert kept == VALUE.encode()
    del secret
    assert kept == bytes(len(VALUE))


def test_a_text_loses_what_anybody_in_the_process_holds():
    secret = Secret(VALUE)
    assert redacted(f"a {VALUE} b") == "a *** b"
    assert Secret("short") == "short"
    assert redacted("a short b") == "a short b"
    del secret
