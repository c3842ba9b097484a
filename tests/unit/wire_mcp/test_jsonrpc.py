"""If these fail, two readers may take one JSON-RPC message for two different things."""

import pytest

from portcullis.core.errors import Problem
from portcullis.wire import jsonrpc
from portcullis.wire.jsonrpc import Failure, Notification, Request, Response, parse

V = {"jsonrpc": "2.0"}


def test_each_of_the_four_kinds_is_told_apart():
    assert parse(V | {"id": 1, "method": "m", "params": {"a": 1}}) == Request(1, "m", {"a": 1})
    assert parse(V | {"id": "x", "method": "m"}) == Request("x", "m", {})
    assert parse(V | {"method": "m"}) == Notification("m", {})
    assert parse(V | {"id": 1, "result": {}}) == Response(1, {})
    error = {"code": -1, "message": "no", "data": [1]}
    assert parse(V | {"id": None, "error": error}) == Failure(None, error)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ([], "PC1031"),
        ([V | {"method": "m"}], "PC1031"),
        (None, "PC1030"),
        ("m", "PC1030"),
        ({}, "PC1030"),
        ({"method": "m"}, "PC1030"),
        ({"jsonrpc": 2.0, "method": "m"}, "PC1030"),
        (V | {"method": ""}, "PC1030"),
        (V | {"method": 1}, "PC1030"),
        (V | {"method": "m" * 257}, "PC1030"),
        (V | {"method": "m", "params": []}, "PC1030"),
        (V | {"method": "m", "params": None}, "PC1030"),
        (V | {"method": "m", "Params": {}}, "PC1030"),
        (V | {"method": "m", "result": {}}, "PC1030"),
        (V | {"method": "m", "id": None}, "PC1030"),
        (V | {"method": "m", "id": False}, "PC1030"),
        (V | {"method": "m", "id": 1.0}, "PC1030"),
        (V | {"method": "m", "id": "i" * 257}, "PC1030"),
        (V | {"id": 1}, "PC1030"),
        (V | {"result": {}}, "PC1030"),
        (V | {"id": None, "result": {}}, "PC1030"),
        (V | {"id": 1, "result": []}, "PC1030"),
        (V | {"id": 1, "result": {}, "error": {"code": 1, "message": ""}}, "PC1030"),
        (V | {"id": 1, "error": {"code": "1", "message": ""}}, "PC1030"),
        (V | {"id": 1, "error": {"code": 1}}, "PC1030"),
        (V | {"id": 1, "error": {"code": 1, "message": "", "stack": ""}}, "PC1030"),
        (V | {"id": True, "error": {"code": 1, "message": ""}}, "PC1030"),
    ],
)
def test_anything_else_is_refused(value, code):
    with pytest.raises(Problem) as caught:
        parse(value)
    assert caught.value.code == code


def test_messages_are_read_back_as_they_were_made():
    assert parse(jsonrpc.request_message(1, "m", {})) == Request(1, "m", {})
    assert parse(jsonrpc.notification_message("m", {"a": 1})) == Notification("m", {"a": 1})
    assert parse(jsonrpc.result_message("x", {})) == Response("x", {})


def test_error_says_code_detail_and_hint():
    error = jsonrpc.error_message(4, Problem("PC3001", "no rule"))
    assert error["id"] == 4
    assert error["error"]["code"] == -32003
    assert error["error"]["data"]["code"] == "PC3001"
    assert set(error["error"]["data"]) == {"code", "detail", "hint"}
    assert isinstance(parse(error), Failure)


def test_error_about_a_malformed_message_names_its_id_where_it_has_one():
    assert jsonrpc.id_of({"id": 5, "method": 7}) == 5
    for value in ({"id": True, "method": "m"}, {"id": 5}, [], "x"):
        assert jsonrpc.id_of(value) is None
