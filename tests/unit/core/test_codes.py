"""If these fail, a user meets a code that nobody explains, or reads of one that never comes."""

import re
from pathlib import Path

import portcullis
from portcullis.core.codes import CODES, RANGES

SOURCE = Path(portcullis.__file__).parent


def used():
    found = set()
    for path in [*SOURCE.rglob("*.py"), *SOURCE.rglob("*.rego")]:
        if path.name != "codes.py":
            text = re.sub(r'"""[\s\S]*?"""', "", path.read_text())
            found |= set(re.findall(r'"(PC\d{4})"', text))
    return found


def test_every_code_that_can_be_raised_is_in_the_table():
    assert used() <= set(CODES)


def test_every_code_in_the_table_can_be_raised():
    assert set(CODES) <= used()


def test_every_code_says_what_to_do_and_has_a_range():
    for code, entry in CODES.items():
        assert entry.hint.endswith("."), code
        assert code[:3] in RANGES
        assert 400 <= entry.status < 600
        assert -32999 <= entry.rpc <= -32000 or entry.rpc in range(-32800, -32599)
