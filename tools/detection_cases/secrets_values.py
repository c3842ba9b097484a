"""Tokens in the formats of well-known providers, random and made at run time."""

import base64
import json
import zlib
from collections.abc import Callable

from detection_cases.grammar import ALNUM, DIGITS, HEX, LOWER, UPPER, Dice

BASE32 = UPPER + "234567"
B64 = ALNUM + "+/"
B64URL = ALNUM + "-_"
BASE62 = DIGITS + UPPER + LOWER
Maker = Callable[[Dice], str]


def shape(*parts: str | tuple[str, int]) -> Maker:
    """A maker of literal parts and random ones."""
    return lambda dice: "".join(
        part if isinstance(part, str) else dice.text(*part) for part in parts
    )


def checked(prefix: str) -> Maker:
    """A GitHub or npm token: thirty signs and their CRC-32 in base 62."""

    def make(dice: Dice) -> str:
        body = dice.text(ALNUM, 30)
        number, tail = zlib.crc32(body.encode()), ""
        for _ in range(6):
            number, rest = divmod(number, 62)
            tail = BASE62[rest] + tail
        return prefix + body + tail

    return make


def coded(data: dict[str, object]) -> str:
    """JSON in base64url without padding."""
    return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")


def jwt(dice: Dice) -> str:
    """A signed web token."""
    head = coded({"alg": dice.pick(("HS256", "RS256", "ES256")), "typ": "JWT"})
    body = coded({"sub": dice.text(DIGITS, 8), "iat": 1700000000 + dice.below(10**7)})
    return f"{head}.{body}.{dice.text(B64URL, 43)}"


def pem(dice: Dice) -> str:
    """A private key block."""
    kind = dice.pick(("RSA ", "EC ", "", "OPENSSH "))
    rows = "\n".join(dice.text(B64, 64) for _ in range(dice.between(3, 8)))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{rows}\n-----END {kind}PRIVATE KEY-----"


def password(dice: Dice) -> str:
    """What people and generators choose."""
    words = ("Maple", "tiger", "Harbour", "violet", "Rocket", "winter", "Copper", "lemon")
    return dice.pick((
        dice.text(ALNUM, dice.between(16, 40)),
        dice.text(HEX, 32),
        dice.text(B64URL, 24),
        f"{dice.pick(words)}{dice.pick(words)}{dice.between(10, 99)}{dice.pick('!#$%')}",
        f"{dice.pick(words)}-{dice.pick(words)}-{dice.text(ALNUM, 5)}",
    ))  # fmt: skip


PROVIDERS: dict[str, tuple[str, Maker]] = {
    "aws_id": ("AWS_ACCESS_KEY_ID", shape("AKIA", (BASE32, 16))),
    "aws_temporary": ("AWS_ACCESS_KEY_ID", shape("ASIA", (BASE32, 16))),
    "github": ("GITHUB_TOKEN", checked("ghp_")),
    "github_app": ("GH_TOKEN", checked("ghs_")),
    "github_fine": ("GITHUB_PAT", shape("github_pat_", (ALNUM, 22), "_", (ALNUM, 59))),
    "gitlab": ("GITLAB_TOKEN", shape("glpat-", (B64URL, 20))),
    "slack_bot": ("SLACK_TOKEN", shape("xoxb-", (DIGITS, 12), "-", (DIGITS, 12), "-", (ALNUM, 24))),
    "slack_hook": (
        "SLACK_WEBHOOK",
        shape("https://hooks.slack.com/services/T", (UPPER, 8), "/B", (UPPER, 8), "/", (ALNUM, 24)),
    ),
    "stripe": ("STRIPE_KEY", shape("sk_live_", (ALNUM, 24))),
    "stripe_restricted": ("STRIPE_RK", shape("rk_live_", (ALNUM, 99))),
    "openai": ("OPENAI_API_KEY", shape("sk-", (ALNUM, 20), "T3BlbkFJ", (ALNUM, 20))),
    "openai_project": (
        "OPENAI_API_KEY",
        shape("sk-proj-", (B64URL, 74), "T3BlbkFJ", (B64URL, 73), (ALNUM, 1)),
    ),
    "anthropic": ("ANTHROPIC_API_KEY", shape("sk-ant-api03-", (B64URL, 93), "AA")),
    "google": ("GOOGLE_API_KEY", shape("AIza", (B64URL, 34), (ALNUM, 1))),
    "google_oauth": ("GOOGLE_CLIENT_SECRET", shape("GOCSPX-", (B64URL, 27), (ALNUM, 1))),
    "azure_storage": ("AZURE_STORAGE_KEY", shape((B64, 86), "==")),
    "azure_ad": ("AZURE_CLIENT_SECRET", shape((ALNUM, 3), "8Q~", (ALNUM, 34))),
    "npm": ("NPM_TOKEN", checked("npm_")),
    "pypi": ("PYPI_TOKEN", shape("pypi-AgEIcHlwaS5vcmc", (B64URL, 85), (ALNUM, 1))),
    "sendgrid": ("SENDGRID_API_KEY", shape("SG.", (B64URL, 22), ".", (B64URL, 42), (ALNUM, 1))),
    "twilio": ("TWILIO_API_KEY", shape("SK", (HEX, 32))),
    "jwt": ("ID_TOKEN", jwt),
    "huggingface": ("HF_TOKEN", shape("hf_", (UPPER + LOWER, 34))),
    "digitalocean": ("DO_TOKEN", shape("dop_v1_", (HEX, 64))),
    "databricks": ("DATABRICKS_TOKEN", shape("dapi", (HEX, 32))),
    "shopify": ("SHOPIFY_TOKEN", shape("shpat_", (HEX, 32))),
    "vault": ("VAULT_TOKEN", shape("hvs.", (B64URL, 91), (ALNUM, 1))),
    "linear": ("LINEAR_API_KEY", shape("lin_api_", (ALNUM, 40))),
    "postman": ("POSTMAN_KEY", shape("PMAK-", (HEX, 24), "-", (HEX, 34))),
    "grafana": ("GRAFANA_TOKEN", shape("glsa_", (ALNUM, 32), "_", (HEX, 8))),
    "newrelic": ("NEW_RELIC_KEY", shape("NRAK-", (UPPER + DIGITS, 27))),
    "groq": ("GROQ_API_KEY", shape("gsk_", (ALNUM, 52))),
    "telegram": ("TELEGRAM_BOT_TOKEN", shape("61", (DIGITS, 8), ":AA", (B64URL, 32), (ALNUM, 1))),
}
NEED_CONTEXT = {"azure_storage", "twilio"}
AWS_SECRET = shape((B64, 40))
AZURE_STRING = "DefaultEndpointsProtocol=https;AccountName={service};AccountKey={VALUE}"
