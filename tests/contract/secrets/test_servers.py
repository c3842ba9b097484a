"""OpenBao and AWS beside their contract: logins, leases, rotation, what is given back."""

from __future__ import annotations

import time

import pytest

from portcullis.config.secrets import Aws
from portcullis.core.errors import Problem
from portcullis.execution.secrets import hooks
from portcullis.execution.secrets.aws import AwsSecrets
from portcullis.execution.secrets.hooks import AwsHook, LeasedHook

pytestmark = pytest.mark.anyio

CREDS = "database/creds/reader"


class Now:
    """A clock that a test moves; the server's own goes on by itself."""

    def __init__(self) -> None:
        self.later = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.later


def test_a_role_logs_in_and_gives_its_token_back(server, vault):
    server.put("app", key="a-good-value")
    auth = {"kind": "approle", "role_id": server.role_id, "secret_id": "env:SECRET_ID"}
    source = vault(auth, environ={"SECRET_ID": server.secret_id})
    assert source.resolve("kv/app#key") == "a-good-value"
    assert sum("login" in one for one in server.asked) == 1
    assert source.resolve("kv/app#key") == "a-good-value"
    assert sum("kv/data/app" in one for one in server.asked) == 1
    source.close()
    assert set(server.tokens) == {server.root}


def test_a_service_account_logs_in(server, vault, tmp_path):
    server.put("app", key="a-good-value")
    (tmp_path / "token").write_text(server.jwt)
    auth = {"kind": "kubernetes", "role": "gate", "token": str(tmp_path / "token")}
    source = vault(auth)
    assert source.resolve("kv/app#key") == "a-good-value"
    source.close()


def test_a_refused_login_says_no_secret(server, vault):
    auth = {"kind": "approle", "role_id": server.role_id, "secret_id": "env:SECRET_ID"}
    with pytest.raises(Problem) as caught:
        vault(auth, environ={"SECRET_ID": "not-the-secret-id"}).resolve("kv/app#key")
    assert caught.value.code == "PC5067"
    assert "not-the-secret-id" not in caught.value.detail


def test_a_token_is_renewed_and_one_that_was_revoked_replaced(server, vault):
    server.put("app", key="a-good-value")
    clock = Now()
    auth = {"kind": "approle", "role_id": server.role_id, "secret_id": "env:SECRET_ID"}
    source = vault(auth, now=clock, environ={"SECRET_ID": server.secret_id}, fresh=1)
    source.resolve("kv/app#key")
    clock.later = server.seconds * 0.7
    source.resolve("kv/app#key")
    assert "POST auth/token/renew-self" in server.asked
    server.tokens = {server.root: float("inf")}
    clock.later += 2
    assert source.resolve("kv/app#key") == "a-good-value"
    assert sum("login" in one for one in server.asked) == 2


def test_a_server_that_is_down_is_a_problem_and_what_is_fresh_goes_on(server, vault):
    server.put("app", key="a-good-value")
    source = vault()
    source.resolve("kv/app#key")
    server.down = True
    assert source.ready("kv/app#key") == "a-good-value"
    with pytest.raises(Problem) as caught:
        source.resolve("kv/other#key")
    assert caught.value.code == "PC5067"


def test_a_user_and_a_password_are_of_one_lease(server, vault):
    source = vault()
    user, password = source.resolve(f"{CREDS}#username"), source.resolve(f"{CREDS}#password")
    assert server.good(user.reveal(), password.reveal())
    assert len(server.leases) == 1
    assert source.leased(f"{CREDS}#username")


def test_a_lease_is_renewed_for_as_long_as_it_can_be_and_then_replaced(server, vault):
    server.seconds, server.most = 1.0, 1.6
    source = vault(overlap=0.5, fresh=60)
    first = source.resolve(f"{CREDS}#password").reveal()
    good = 0
    until = time.monotonic() + 2.2
    while time.monotonic() < until:
        source.tend()
        user, password = source.resolve(f"{CREDS}#username"), source.resolve(f"{CREDS}#password")
        good += server.good(user.reveal(), password.reveal())
        assert server.good(user.reveal(), password.reveal())
        time.sleep(0.05)
    assert good > 20
    assert any("leases/renew" in one for one in server.asked)
    assert password != first
    assert server.revoked


def test_what_is_rotated_overlaps_and_is_then_revoked(server, vault):
    clock = Now()
    source = vault(now=clock)
    old = [source.resolve(f"{CREDS}#{key}").reveal() for key in ("username", "password")]
    source.forget(f"{CREDS}#password")
    assert source.resolve(f"{CREDS}#password") != old[1]
    source.tend()
    assert server.good(*old)
    clock.later = 61
    source.tend()
    assert not server.good(*old)
    source.close()
    assert server.leases == {}


def test_a_lease_that_nobody_uses_is_given_back(server, vault):
    clock = Now()
    server.seconds = 100
    source = vault(now=clock, fresh=10)
    source.resolve(f"{CREDS}#password")
    clock.later = 60
    source.tend()
    source.tend()
    assert server.leases == {}
    assert source.ready(f"{CREDS}#password") is None


def test_a_server_that_is_down_when_a_lease_is_due_is_asked_again_later(server, vault):
    clock = Now()
    server.seconds = 100
    source = vault(now=clock)
    source.resolve(f"{CREDS}#password")
    clock.later = 55
    source.resolve(f"{CREDS}#password")
    server.down = True
    with pytest.raises(Problem):
        source.tend()
    source.tend()
    assert sum("leases/renew" in one for one in server.asked) == 1
    server.down = False
    clock.later = 62
    source.tend()
    assert sum("leases/renew" in one for one in server.asked) == 2


async def test_what_is_leased_is_rotated_by_asking_and_the_rest_is_not(server, vault):
    source = vault()
    server.put("app", key="a-good-value")
    await LeasedHook(source).rotate(f"openbao:{CREDS}#password")
    with pytest.raises(Problem) as caught:
        await LeasedHook(source).rotate("openbao:kv/app#key")
    assert caught.value.code == "PC7070"


async def test_aws_rotates_by_its_own_function_and_another_value_counts(aws, aws_url, monkeypatch):
    aws.create_secret(Name="app/rotated", SecretString='{"key": "the-old-value"}')
    source = AwsSecrets(
        Aws(region="eu-west-1", endpoint=aws_url), fresh_seconds=300, now=time.monotonic
    )
    hook = AwsHook(source)
    with pytest.raises(Problem) as caught:
        await hook.rotate("aws-sm:app/nothing#key")
    assert caught.value.code == "PC5007"
    with pytest.raises(Problem) as caught:
        source.rotate("app/nothing#key")
    assert caught.value.code == "PC7071"
    monkeypatch.setattr(hooks, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(source, "rotate", str)  # a service that says yes, and does nothing
    with pytest.raises(Problem) as caught:
        await hook.rotate("aws-sm:app/rotated#key")
    assert caught.value.code == "PC7072"

    def rotate(_: str) -> None:
        aws.put_secret_value(SecretId="app/rotated", SecretString='{"key": "the-new-value"}')

    monkeypatch.setattr(source, "rotate", rotate)
    await hook.rotate("aws-sm:app/rotated#key")
    assert source.resolve("app/rotated#key") == "the-new-value"
    source.close()
