"""If these fail, a gate counts somewhere else than its operator wrote, or at other prices."""

from pathlib import Path

import pytest

from portcullis.config import load
from portcullis.core.errors import Problem


def loaded(folder, text):
    path = folder / "portcullis.yaml"
    path.write_text(f"trust_domain: t.example\n{text}")
    return load(path)


def test_counts_are_in_a_file_by_default_and_nothing_is_priced_anew(tmp_path):
    config = loaded(tmp_path, "")
    assert (config.counters.via, config.counters.url, config.prices) == ("sqlite", None, None)
    assert (config.counters.output_tokens, config.counters.bytes_per_token) == (4096, 2)


def test_paths_are_below_the_file(tmp_path):
    text = "counters: {via: redis, url: 'file:redis.url'}\nprices: own/prices.yaml\n"
    config = loaded(tmp_path, text)
    assert config.counters.url == f"file:{tmp_path / 'redis.url'}"
    assert config.prices == tmp_path / "own/prices.yaml"
    other = loaded(tmp_path, "prices: /etc/prices.yaml\n")
    assert other.prices == Path("/etc/prices.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "counters: {via: redis}",
        "counters: {url: env:REDIS}",
        "counters: {via: redis, url: redis://secret@host}",
        "counters: {via: etcd}",
        "counters: {bytes_per_token: 0.5}",
        "counters: {output_tokens: 0}",
    ],
    ids=["no-url", "url-for-nothing", "a-value", "unknown", "too-few", "none"],
)
def test_what_counts_nowhere_is_refused(tmp_path, text):
    with pytest.raises(Problem, match="PC7001") as refused:
        loaded(tmp_path, text)
    assert "portcullis.yaml:2" in refused.value.detail
