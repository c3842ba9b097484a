"""If this fails, a model that is configured is not asked, and nobody hears of it."""

import contextlib

import pytest

from portcullis.bootstrap import GATE, founded
from portcullis.bootstrap.firewall import detectors
from portcullis.config import load
from portcullis.core.errors import Problem


def test_a_gate_does_not_start_without_the_model_that_is_configured(tmp_path):
    file = tmp_path / "portcullis.yaml"
    file.write_text(
        "trust_domain: a.test\ninspection:\n  onnx: {model: no.onnx, tokenizer: no.json}\n"
    )
    config = load(file)
    with contextlib.ExitStack() as stack:
        services = founded(stack, config, GATE)
        with pytest.raises(Problem) as raised:
            detectors(config, services)
    assert raised.value.code == "PC7015"
