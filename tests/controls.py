"""The register of controls as tests and tools read it."""

from importlib import resources

import msgspec
import yaml

from portcullis.core.control import Register


def register() -> Register:
    text = resources.files("portcullis").joinpath("controls.yaml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), Register)
