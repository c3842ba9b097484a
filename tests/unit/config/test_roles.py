"""Roles of one's own in the configuration: what loads, and what is said of what does not."""

import pytest

from portcullis.config import load
from portcullis.core.errors import Problem
from portcullis.core.rights import Right

ROLE = "roles:\n  night: {rights: [kill], about: whoever is awake}\n"


def loaded(tmp_path, text):
    path = tmp_path / "portcullis.yaml"
    path.write_text(f"trust_domain: example.org\n{text}")
    return load(path)


def test_a_role_can_be_given_by_groups_and_by_the_glass(tmp_path):
    oidc = "{issuer: https://a.test, client_id: c, jwks: k.json, operators: {sre: night}}"
    more = f"identity: {{oidc: {{corp: {oidc}}}}}\nbreak_glass: {{may: [night], roles: [night]}}\n"
    roles = loaded(tmp_path, ROLE + more + "rights_apart: [[kill, kill.lift]]\n").operator_roles
    assert roles.given(("night",)) == {Right.LOOK, Right.KILL}
    assert roles.apart == ((Right.KILL, Right.KILL_LIFT),)
    assert roles.names[-1] == "night"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("roles:\n  night: {rights: [kil]}\n", 3, "no right kil: did you mean kill? docs/"),
        ("roles:\n  night: {rights: [zzzz]}\n", 3, "no right zzzz: docs/operators.md lists them"),
        ("roles:\n  night: {rights: []}\n", 3, "roles.night.rights"),
        ("roles:\n  admin: {rights: [kill]}\n", 3, "the role admin is built in"),
        ("roles:\n  Night Shift: {rights: [kill]}\n", 3, "roles.Night Shift"),
        ("break_glass: {may: [night]}\n", 2, "there is no role night"),
        (
            "identity: {oidc: {a: {issuer: https://a, client_id: c, jwks: k, operators: {g: r}}}}",
            2,
            "there is no role r:",
        ),
        ("rights_apart: [[kill, kill]]\n", 2, "expected two rights other than look"),
        ("rights_apart: [[kill, look]]\n", 2, "expected two rights other than look"),
        ("rights_apart: [[kill]]\n", 2, "rights_apart.0"),
    ],
)
def test_what_is_no_role_or_right_is_said_with_its_line(tmp_path, text, line, said):
    with pytest.raises(Problem) as refused:
        loaded(tmp_path, text)
    assert refused.value.code == "PC7001"
    assert f"portcullis.yaml:{line}: " in refused.value.detail
    assert said in refused.value.detail
