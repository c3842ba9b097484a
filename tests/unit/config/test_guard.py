"""If these fail, a toolset's name stands for two things, or a slip in its section is accepted."""

import pytest

from portcullis.config import load
from portcullis.core.errors import Problem

UPSTREAMS = """\
trust_domain: example.test
models:
  gpt: {shape: openai, url: "https://models.example"}
mcp:
  orders: {url: "https://orders.example"}
guard:
"""


def loaded(tmp_path, toolsets):
    path = tmp_path / "portcullis.yaml"
    path.write_text(UPSTREAMS + toolsets)
    return load(path).guard


def test_a_toolset_needs_nothing_but_its_name(tmp_path):
    (one,) = loaded(tmp_path, "  shop: {}\n").values()
    assert (one.result_seconds, one.trusted) == (None, False)
    assert loaded(tmp_path, "  shop: {result_seconds: 5}\n")["shop"].result_seconds == 5


@pytest.mark.parametrize("name", ["gpt", "orders"])
def test_a_name_stands_for_one_thing(tmp_path, name):
    with pytest.raises(Problem, match=f"PC7001: .*yaml:6: guard: {name} is also") as refused:
        loaded(tmp_path, f"  {name}: {{}}\n")
    assert refused.value.code == "PC7001"


@pytest.mark.parametrize(
    "slip", ["  Shop: {}\n", "  shop: {seconds: 1}\n", "  shop: {result_seconds: 0}\n"]
)
def test_a_slip_is_refused_with_its_line(tmp_path, slip):
    with pytest.raises(Problem, match=r"PC7001: .*yaml:7: guard"):
        loaded(tmp_path, slip)
