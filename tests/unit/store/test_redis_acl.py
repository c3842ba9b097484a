"""If this fails, who follows the documentation has a user that may not do what the gate needs."""

from pathlib import Path

from portcullis.store.redis_acl import USES

PAGE = Path(__file__).parents[3] / "docs/redis.md"


def test_the_page_says_the_rules_that_are_needed_and_no_others():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    said = {line.split()[1]: line for line in lines if line.startswith("user ")}
    assert said.pop("default") == "user default off"
    assert said == {
        use.name: f"user {use.name} on >PASSWORD {use.rule('example.org')}" for use in USES
    }
