"""If this fails, what users granted to an upstream that is gone is neither seen nor ended."""

import contextlib
from types import SimpleNamespace

from databases import new_database
from portcullis.audit.keys import DIGESTS, shared_subjects
from portcullis.bootstrap.on_behalf import acting, grants_of
from portcullis.config import Config
from portcullis.core.grants import Grant, Holding
from portcullis.core.secret import Secret
from portcullis.identity.keymanager import KEYS
from portcullis.store.user_grants import SqlGrants
from sealers import sealer_at


def test_grants_outlive_their_upstream_until_they_are_ended(tmp_path):
    config = Config(trust_domain="example.test", state=tmp_path / "state", policy=tmp_path)
    sealer, engine = sealer_at(tmp_path), new_database(tmp_path / "database")
    with contextlib.ExitStack() as stack:
        assert grants_of(stack, config, engine, sealer) is None
        keys = shared_subjects(config.state / KEYS / DIGESTS, sealer)
        stack.callback(keys.close)
        holding = Holding(upstream="gone", application="desk", user="ada")
        made = Grant(id="g1", holding=holding, scopes=("read",), created_at=1.0, issuer="https://a")
        SqlGrants(engine, keys, sealer).put(made, Secret("a-refresh-token"))
        grants = grants_of(stack, config, engine, sealer)
        services = SimpleNamespace(
            grants=grants, clock=SimpleNamespace(now=lambda: 2.0), records=lambda: None, new_id=str
        )
        found = stack.enter_context(acting(config, services, SimpleNamespace()))
        assert [one.id for one in grants.all()] == ["g1"]
        assert found.connecting("control").upstreams() == ()
