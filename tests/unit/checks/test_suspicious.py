import pytest

from portcullis.checks.suspicious import MAX_FIELD, NAMES, suspicious

MUST_MATCH = {
    "control-characters": [
        {"text": "a\x1b[2Jb"},
        {"body": "bell\x07"},
        {"q": "\x7f"},
        {"deep": {"er": ["x\x00"]}},
        {"text": "c1 \x9b31m"},
    ],
    "hidden-characters": [
        {"customer_id": "C-\u200b1"},
        {"username": "ad\u202emin"},
        {"filePath": "/a/\u2066b"},
        {"email": "a@b.example\ufeff"},
        {"ids": ["C-1", "C-\U000e0041"]},
    ],
    "overlong": [{"order_id": "x" * (MAX_FIELD + 1)}, {"path": "a/" * MAX_FIELD}],
    "line-break": [
        {"to": "a@b.example\r\nBcc: c@d.example"},
        {"subject": "hello\nX-Header: 1"},
        {"headers": {"X-A": "1\r\nX-B: 2"}},
        {"recipients": ["a@b.example", "c@d.example\n"]},
        {"customerID": "C-1\n"},
        {"host": "a\u2028b"},
    ],
    "path-traversal": [
        {"path": "../etc/passwd"},
        {"file_path": "/srv/docs/../../etc"},
        {"filename": "..\\..\\x"},
        {"paths": ["a", "b/.."]},
        {"dir": ".."},
        {"file": "%2e%2e%2fx"},
        {"path": "a/.%2E/b"},
    ],
    "sql": [
        {"customer_id": "C-1' OR '1'='1"},
        {"id": "1; DROP TABLE users"},
        {"orderId": "1 -- "},
        {"order_id": "1/**/or/**/1"},
        {"ids": ["1 UNION ALL SELECT 1"]},
    ],
    "option": [
        {"branch_name": "--upload-pack=touch x"},
        {"target": "--output=/etc/x"},
        {"host": "-oProxyCommand=x"},
        {"revision": "-n"},
    ],
    "shell": [
        {"host": "a.example; id"},
        {"branch": "$(id)"},
        {"ref": "a|b"},
        {"hostname": "`id`"},
    ],
    "url-scheme": [
        {"url": "file:///etc/passwd"},
        {"webhook_url": "gopher://x/"},
        {"href": "JavaScript:alert(1)"},
        {"callback": " ftp://x"},
    ],
    "url-userinfo": [
        {"url": "https://good.example@evil.example/"},
        {"url": "https://a:b@evil.example"},
        {"url": "https:\\\\evil.example"},
    ],
    "encoded-line-break": [
        {"to": "a@b.example%0d%0aBcc:c@d.example"},
        {"subject": "hello%0AX-Header: 1"},
        {"url": "https://a.example/%0D%0ASet-Cookie:x=1"},
        {"url": "https://a.example/%250d%250aSet-Cookie"},
        {"host": "a.example%E2%80%A8"},
    ],
    "ssrf": [
        {"url": "http://127.0.0.1:8080/admin"},
        {"webhook_url": "http://169.254.169.254/latest/meta-data/"},
        {"host": "10.0.0.7"},
        {"endpoint": "https://metadata.google.internal/computeMetadata/v1/"},
        {"uri": "http://[::ffff:127.0.0.1]/"},
        {"urls": ["https://example.org/", "http://2130706433/"]},
        {"request": {"callback": "http://localhost/"}},
    ],
    "template": [
        {"customer_id": "{{7*7}}"},
        {"username": "${jndi:ldap://x}"},
        {"name": "<%= `id` %>"},
        {"email": "#{T(java.lang.Runtime)}@a.example"},
        {"sku": "{% for a in b %}"},
        {"url": "https://a.example/%7b%7bconfig%7d%7d"},
        {"login": "[[${T(x)}]]"},
    ],
    "operator": [{"customer_id": {"$ne": None}}, {"id": {"$gt": ""}}],
    "prototype": [{"__proto__": {"admin": True}}, {"options": {"__proto__": 1}}],
}
MUST_NOT_MATCH = [
    {"query": "SELECT * FROM t WHERE a = 'x'; -- comment"},
    {"text": 'Line one\n\tline "two"; it\'s --- `fine` & <b>bold</b> $(not run)\f'},
    {"body": "see ../README.md, https://user@host/ and C:\\x\\..\\y"},
    {"file_content": "import x from '../y/../z'\n"},
    {"message": "x" * 100_000},
    {"code": "while (a || b) { c; }"},
    {"name": "Seán O'Brien-Smith; Jr."},
    {"name": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"},
    {"title": 'R&D: what\'s "new"? -- part 2'},
    {"customer_id": "C-1001"},
    {"id": "6f1c2b1e-0000-4000-8000-000000000000"},
    {"id": "urn:x:y--z"},
    {"ids": "1;2;3"},
    {"message_id": "<a.b@c.example>"},
    {"path": "/srv/docs/a..b/...c/.hidden"},
    {"path": "C:\\Users\\x"},
    {"branch": "feature/some-thing_1.2"},
    {"target": "-5"},
    {"tag": "v1.2.3"},
    {"host": "db-1.example.org:5432"},
    {"url": "https://example.org:8443/a/@b?c=d@e#f"},
    {"url": "shop.example:8080/x"},
    {"url": "https://a.example/?text=one%0Atwo&filter=%7B%22a%22%3A%7B%22b%22%3A1%7D%7D"},
    {"url": "https://a.example/{id}/<b>%3C%2Fb%3E"},
    {"url": "https://a.example/?q=open+10+24 7"},
    {"hosts": ["8.8.8.8", "2606:4700:4700::1111", "xn--bcher-kva.example"]},
    {"uri": "urn:isbn:9780000000000"},
    {"file_name": "{{cookiecutter.slug}}/setup.py"},
    {"subject": "Dear {{first_name}}, 100%"},
    {"ref": "stash@{0}"},
    {"text": "curl http://127.0.0.1/ ${HOME} {{x}} %0d%0a"},
    {"url": "/relative/path"},
    {"uri": "file:///srv/docs/a"},
    {"to": "Ada <ada@example.org>, bob@example.org"},
    {"subject": "Order 5 — where's it?"},
    {"amount": 12.5, "flag": True, "none": None, "list": [1, {"a": "b"}]},
    {"filter": {"$and": [{"a": 1}]}},
]


@pytest.mark.parametrize(
    ("rule", "arguments"), [(rule, case) for rule, cases in MUST_MATCH.items() for case in cases]
)
def test_each_rule_finds_its_attack(rule, arguments):
    assert rule in {found.partition(": ")[2] for found in suspicious(arguments, {})}


@pytest.mark.parametrize("arguments", MUST_NOT_MATCH)
def test_ordinary_values_pass(arguments):
    assert suspicious(arguments, {}) == ()


def test_every_rule_has_its_examples():
    assert MUST_MATCH.keys() == NAMES


def test_a_field_is_known_by_its_format_where_its_name_says_nothing():
    schema = {
        "properties": {
            "where": {"type": "string", "format": "uri"},
            "all": {"items": {"properties": {"who": {"format": "email"}}}},
        }
    }
    arguments = {"where": "file:///etc", "all": [{"who": "a@b.example\nBcc: x"}]}
    assert suspicious(arguments, {}) == ()
    assert suspicious(arguments, schema) == ("where: url-scheme", "all[0].who: line-break")


def test_a_destination_is_known_by_its_format():
    for form in ("uri", "hostname", "ipv4", "ipv6"):
        schema = {"properties": {"peer": {"type": "string", "format": form}}}
        assert suspicious({"peer": "::1" if form == "ipv6" else "127.1"}, schema) == ("peer: ssrf",)


def test_what_policy_tolerates_is_tolerated_in_that_argument_and_no_other():
    arguments = {
        "url": "http://127.0.0.1/\x07",
        "other_url": "http://127.0.0.1/",
        "target": {"host": "10.0.0.1", "id": "1' OR"},
    }
    tolerated = {"url": frozenset({"ssrf"}), "target": frozenset({"ssrf"})}
    assert suspicious(arguments, {}, tolerated) == (
        "url: control-characters",
        "other_url: ssrf",
        "target.id: sql",
    )


@pytest.mark.parametrize("schema", [{}, {"properties": []}, {"properties": {"id": True}}, []])
def test_a_hostile_schema_does_not_switch_the_rules_off(schema):
    assert suspicious({"id": "1' OR"}, schema) == ("id: sql",)


def test_findings_name_fields_without_quoting_what_the_agent_wrote():
    key = "key with content; " + "x" * 100
    assert suspicious({key: "\x07"}, {}) == ("?: control-characters",)
