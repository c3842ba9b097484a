from importlib import resources, util
from pathlib import Path

import pytest

from portcullis.inspection import packs
from portcullis.inspection.patterns import Patterns


def pack(name):
    return packs.load(resources.files("portcullis.inspection") / "packs" / f"{name}.yaml")


@pytest.fixture(scope="session")
def secrets():
    return pack("secrets")


@pytest.fixture(scope="session")
def exfiltration():
    return pack("exfiltration")


@pytest.fixture(scope="session")
def patterns(secrets, exfiltration):
    return Patterns(secrets.rules + exfiltration.rules)


@pytest.fixture(scope="session")
def example():
    """The generator of ``grammar.py``, which stands beside this file."""
    spec = util.spec_from_file_location("secrets_grammar", Path(__file__).with_name("grammar.py"))
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.example


@pytest.fixture(scope="session")
def find(patterns):
    """What both packs find in a text: {datum: entity}."""

    def find(text, key=""):
        return {
            text[match.start : match.end]: match.entity for match in patterns.scan([text], [key])[0]
        }

    return find
