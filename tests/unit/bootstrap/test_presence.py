"""If these fail, a command asks a process that is gone, or a stranger that has its number."""

import json
import os

import pytest

from portcullis.bootstrap.presence import found_in, presence, present, started
from portcullis.config.places import Role
from portcullis.core.errors import Problem


def test_it_is_there_from_when_it_is_said_until_the_end(tmp_path):
    place = tmp_path / "gateways" / "edge.json"
    with presence(place, Role.GATEWAY) as say:
        assert found_in(place) is None
        say({"gate": "http://127.0.0.1:1"})
        found = found_in(place)
        assert (found.pid, found.role, found.gate) == (
            os.getpid(),
            Role.GATEWAY,
            "http://127.0.0.1:1",
        )
        assert present(place) == os.getpid()
    assert found_in(place) is None


def test_another_process_of_the_same_number_is_not_taken_for_it(tmp_path):
    place = tmp_path / "gate.json"
    place.write_text(json.dumps({"pid": os.getpid(), "started": "1"}))
    assert found_in(place) is None
    place.write_text(json.dumps({"pid": os.getpid(), "started": started(os.getpid())}))
    assert found_in(place) is not None
    place.write_text(json.dumps({"pid": 2**22 - 1, "started": ""}))
    assert found_in(place) is None


def test_what_is_no_such_file_is_said_so(tmp_path):
    place = tmp_path / "gate.json"
    place.write_text("[]")
    with pytest.raises(Problem, match="PC7001"):
        found_in(place)
    assert present(place) is None
