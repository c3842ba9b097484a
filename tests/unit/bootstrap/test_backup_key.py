"""If this fails, the key that opens everything lies in clear where a backup is made."""

import pytest

from portcullis.bootstrap import backup
from portcullis.config import Config
from portcullis.core.errors import Problem


def test_the_root_key_goes_along_from_where_it_lies_and_no_copy_is_made(tmp_path):
    config = Config(trust_domain="example.org", state=tmp_path / "state")
    key = config.state / "keys" / "master.key"
    key.parent.mkdir(parents=True)
    key.write_bytes(b"opens all")
    stage = tmp_path / "stage"
    stage.mkdir()
    backup._root_key(config, stage / backup.ROOT_KEY)
    (one,) = backup.files_of(stage)
    assert (one.read_bytes(), one.is_symlink()) == (b"opens all", True)
    assert backup.summed_file(one) == backup.summed_file(key)
    one.unlink()
    assert key.exists()
    keyless = config.model_copy(update={"state": tmp_path / "other"})
    with pytest.raises((Problem, OSError)):
        backup._root_key(keyless, stage / backup.ROOT_KEY)
