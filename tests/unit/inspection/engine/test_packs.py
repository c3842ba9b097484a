from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from portcullis.core.errors import Problem
from portcullis.inspection import packs

GOOD = {
    "id": "badge-number",
    "entity": "BADGE",
    "category": "personal",
    "pattern": "BADGE-[0-9]{6}",
    "match": ["my «BADGE-123456»", ["BADGE-", "654321"]],
    "reject": ["BADGE-12345", "XBADGE-123456"],
}


def written(folder: Path, *rules: dict[str, object], **head: object) -> Path:
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump({"pack": "mine", "rules": list(rules)} | head), encoding="utf-8")
    return file


@pytest.mark.parametrize("pack", packs.builtin(), ids=lambda pack: pack.name)
def test_every_shipped_rule_finds_its_examples_and_nothing_in_its_counter_examples(
    pack: packs.Pack,
) -> None:
    packs.examples(pack)


def test_shipped_rules_have_one_id_each() -> None:
    found = packs.select(packs.builtin())
    assert len({rule.id for rule in found}) == len(found) > 100


def test_a_pack_of_ones_own_loads_and_its_examples_run(tmp_path: Path) -> None:
    pack = packs.load(written(tmp_path, GOOD))
    assert pack.name == "mine"
    packs.examples(pack)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"colour": "red"}, "colour"),
        ({"id": "Badge"}, "id"),
        ({"category": "hats"}, "category"),
        ({"pattern": "BADGE-[0-9]+"}, "unbounded"),
        ({"pattern": "BADGE-[0-9]{6,}"}, "unbounded"),
        ({"pattern": "(?:a{0,2}){0,9000}b"}, "longer than 8192 bytes"),
        ({"pattern": "^BADGE"}, "an anchor"),
        ({"pattern": "(?<=x)BADGE"}, "look-around"),
        ({"pattern": r"(B)\1"}, "back reference"),
        ({"pattern": "(?>BADGE)"}, "not in RE2's syntax"),
        ({"pattern": "[[:alpha:]]x"}, "not a pattern"),
        ({"pattern": "(?m)BADGE"}, "inline flags"),
        ({"pattern": "BADGE("}, "not a pattern"),
        ({"pattern": "x{0,3}"}, "may be empty"),
        ({"group": 1}, "group 1"),
        ({"pattern": "(?:a(b)|c)", "group": 1}, "top level"),
        ({"validator": "nobody"}, "no validator is named nobody"),
        ({"required": True}, "`required` needs"),
        ({"whole": True}, "`whole` needs `keys`"),
        ({"pattern": ""}, "needs a pattern"),
        ({"match": []}, "must match"),
        ({"reject": []}, "must not match"),
    ],
)
def test_a_rule_that_cannot_be_used_is_named_with_its_file_and_the_reason(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    with pytest.raises(Problem) as caught:
        packs.load(written(tmp_path, GOOD | change))
    assert caught.value.code == "PC7014"
    assert "mine.yaml" in caught.value.detail
    assert reason in caught.value.detail
    assert "id" in change or "badge-number" in caught.value.detail


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"match": ["BADGE-12345"]}, "match example 1"),
        ({"match": ["«BADGE-12345»6"]}, "match example 1"),
        ({"reject": ["no", "BADGE-111111"]}, "reject example 2"),
    ],
)
def test_a_rule_that_fails_its_own_example_is_named(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    pack = packs.load(written(tmp_path, GOOD | change))
    with pytest.raises(Problem, match=f"badge-number: {reason}") as caught:
        packs.examples(pack)
    assert caught.value.code == "PC7014"


def test_the_same_id_twice_is_refused_within_and_across_packs(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="badge-number: the id stands twice"):
        packs.load(written(tmp_path, GOOD, GOOD))
    pack = packs.load(written(tmp_path, GOOD))
    with pytest.raises(Problem, match="badge-number: the id stands twice"):
        packs.select((pack, pack))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("pack: a\nrules: [\n", r"mine.yaml:\d"),
        ("- a", "expected"),
        ("pack: a\nrules: []\nextra: 1", "unknown key extra"),
        ("pack: 7\nrules: []", "`pack` must be a name"),
        ("pack: a\nrules: [text]", "rule number 1"),
    ],
)
def test_a_file_that_is_no_pack_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(Problem, match=reason) as caught:
        packs.load(file)
    assert caught.value.code == "PC7014"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"none.yaml: No such file"):
        packs.load(tmp_path / "none.yaml")


def test_rules_are_switched_off_by_id_and_a_misspelt_id_is_not_passed_over(tmp_path: Path) -> None:
    pack = packs.load(written(tmp_path, GOOD, GOOD | {"id": "other"}))
    assert [rule.id for rule in packs.select((pack,), ["other"])] == ["badge-number"]
    with pytest.raises(Problem, match="no rule is named othr"):
        packs.select((pack,), ["othr"])
