"""What of the configuration an agent never sees. If these fail, it reads the key to everything."""

from pathlib import Path

import pytest

from portcullis.bootstrap.launching import guarded_of
from portcullis.config import load
from portcullis.core.errors import Problem
from portcullis.core.sandbox import Mount
from portcullis.execution.launch.mounts import checked

CONFIG = """\
trust_domain: demo.portcullis.example
keys: {kind: file, path: kept/master.key}
alerts: {rules: rules/alerts.yaml}
models:
  openai: {shape: openai, url: "https://models.example", credential: "file:secrets/model"}
"""


@pytest.fixture
def guarded(tmp_path):
    for name in ("kept/master.key", "secrets/model", "rules/alerts.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch(mode=0o600)
    (tmp_path / "portcullis.yaml").write_text(CONFIG)
    config = load(tmp_path / "portcullis.yaml")
    return guarded_of(config, tmp_path / "portcullis.yaml", ["env:X", Path(tmp_path / "svid")])


def test_the_key_of_all_keys_and_the_secrets_are_covered(tmp_path, guarded):
    _, covered = checked([Mount(source=tmp_path, target="/work")], guarded)
    assert covered == ("/work/kept", "/work/secrets")


def test_what_the_gate_goes_by_is_never_writable(tmp_path, guarded):
    shown = Mount(source=tmp_path / "rules", target="/rules")
    assert checked([shown], guarded)[1] == ()
    with pytest.raises(Problem, match="could write alerts"):
        checked([Mount(source=tmp_path / "rules", target="/rules", writable=True)], guarded)
