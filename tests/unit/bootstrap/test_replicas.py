"""A replica is reached with the keys that its section names, and with no others."""

from __future__ import annotations

from portcullis.bootstrap.replicas import settings_of
from portcullis.config.replica import Replica
from portcullis.core.secret import Secret


class Named:
    """A source in which each secret is its own reference, upside down."""

    def resolve(self, reference: str) -> Secret:
        return Secret(reference[::-1])


def test_keys_and_token_of_a_replica_are_those_that_were_referred_to() -> None:
    where = {"name": "far", "store": "s3://bucket", "region": "x"}
    keys = {"access_key": "env:A", "secret_key": "env:S"}
    found = settings_of(Replica(**where, **keys, session_token="env:T"), Named())  # noqa: S106
    assert (found.access_key, found.secret_key, found.session_token) == ("A:vne", "S:vne", "T:vne")
    assert settings_of(Replica(**where, **keys), Named()).session_token == ""
    assert settings_of(Replica(**where), Named()).access_key == ""


def test_each_log_but_the_gates_own_has_a_place_of_its_own_in_the_store() -> None:
    replica = Replica(name="far", store="file:///srv/copies/")
    names = ("gate", "control", "gate-1")
    found = {name: settings_of(replica, Named(), name).url for name in names}
    assert found == {
        "gate": "file:///srv/copies/",
        "control": "file:///srv/copies/control",
        "gate-1": "file:///srv/copies/gate-1",
    }
