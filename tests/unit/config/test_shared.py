"""If these fail, the password of what gateways share stands in the configuration."""

import pytest

from portcullis.config import load
from portcullis.core.errors import Problem


def written(folder, url):
    """A configuration that names this place."""
    file = folder / "portcullis.yaml"
    file.write_text(f"trust_domain: shop.test\nguard: {{shop: {{}}}}\nshared: {{url: {url}}}\n")
    return load(file)


def test_the_address_is_a_reference_and_a_file_is_found_beside_the_configuration(tmp_path):
    assert written(tmp_path, "env:SHARED_URL").shared.url == "env:SHARED_URL"
    assert written(tmp_path, "file:secrets/url").shared.url == f"file:{tmp_path}/secrets/url"
    with pytest.raises(Problem, match=r"shared\.url") as raised:
        written(tmp_path, "redis://shop:hunter2@127.0.0.1/")
    assert "hunter2" not in str(raised.value)
