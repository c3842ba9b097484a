"""Everybody may read our trust bundle, and it is always the present one."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from domains import Domain
from portcullis.control.bundle import bootstrap_app, bundle_router
from portcullis.identity.bundle import decode


@pytest.fixture
def domain(tmp_path):
    return Domain("example.test", tmp_path)


@pytest.fixture
def client(domain):
    app = FastAPI()
    app.include_router(bundle_router(domain.authority.bundle))
    return TestClient(app)


def test_the_bundle_is_served_as_spiffe_says_and_caches_are_told_how_long(domain, client):
    answer = client.get("/v1/bundle")
    hint = domain.authority.bundle().refresh_hint
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == f"public, max-age={hint}"
    assert answer.json()["spiffe_refresh_hint"] == hint
    assert decode("example.test", answer.content).same_keys(domain.authority.bundle())


def test_no_private_key_is_in_it(client):
    keys = client.get("/v1/bundle").json()["keys"]
    assert {key["use"] for key in keys} == {"x509-svid", "jwt-svid"}
    assert not any({"d", "p", "q", "k"}.intersection(key) for key in keys)


@pytest.mark.parametrize("what", ["root", "jwt"])
def test_a_new_authority_is_in_the_next_answer(domain, client, what):
    before = client.get("/v1/bundle")
    domain.authority.rotate(what)
    after = client.get("/v1/bundle")
    assert after.json()["spiffe_sequence"] > before.json()["spiffe_sequence"]
    assert len(after.json()["keys"]) == len(before.json()["keys"]) + 1


def test_the_bootstrap_listener_serves_the_bundle_and_says_nothing_of_anything_else(world, domain):
    edge = world.services.edge("bootstrap")
    client = TestClient(bootstrap_app(edge, "1", bundle_router(domain.authority.bundle)))
    assert client.get("/v1/bundle").status_code == 200
    for method, path in (("GET", "/docs"), ("GET", "/api/v1/principals/agent"), ("PUT", "/x")):
        answer = client.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (401, "PC2001")
        assert world.recorder.last.code == "PC2001"
