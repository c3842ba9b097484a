"""Networks out of a box that has none (and what one with only the gate has not either)."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from pathlib import Path

from .kit import FULL, REFUSALS, REGISTER, Plan, Try, attempt, said

_SILENT = 1.0


def _connects(host: str, port: str = "tcp", family: int = socket.AF_INET) -> Try:
    def run(plan: Plan) -> str | None:
        where = (host or plan.address, getattr(plan, port) if port.isidentifier() else int(port))
        with socket.socket(family, socket.SOCK_STREAM) as one:
            one.settimeout(_SILENT)
            one.connect(where)
            return said(one.recv(256), plan) if port.isidentifier() else "it was connected"

    return run


for _name, _what, _run in (
    ("loopback", "a server on the machine's loopback", _connects("127.0.0.1")),
    ("loopback_other", "the same by another loopback address", _connects("127.8.8.8")),
    ("loopback_any", "the same by 0.0.0.0", _connects("0.0.0.0")),  # noqa: S104
    ("address", "a server on the machine's own address", _connects("")),
    (
        "loopback6",
        "a server on the machine's IPv6 loopback",
        _connects("::1", "tcp6", socket.AF_INET6),
    ),
    (
        "mapped",
        "the loopback as an IPv4-mapped address",
        _connects("::ffff:127.0.0.1", "tcp", socket.AF_INET6),
    ),
    ("metadata", "the cloud's metadata", _connects("169.254.169.254", "80")),
    ("metadata_container", "a container's credentials", _connects("169.254.170.2", "80")),
    (
        "metadata6",
        "the cloud's metadata by IPv6",
        _connects("fd00:ec2::254", "80", socket.AF_INET6),
    ),
    ("internet", "an address of the internet", _connects("1.1.1.1", "443")),
    (
        "internet6",
        "an IPv6 address of the internet",
        _connects("2606:4700:4700::1111", "443", socket.AF_INET6),
    ),
    ("dns_tcp", "a name server over TCP", _connects("8.8.8.8", "53")),
    ("private_10", "a neighbour in 10/8", _connects("10.0.0.1", "80")),
    ("private_172", "the bridge of containers", _connects("172.17.0.1", "80")),
    ("private_192", "a router in 192.168/16", _connects("192.168.0.1", "80")),
    ("control", "the control plane", _connects("127.0.0.1", "control")),
):
    REGISTER.add(f"network.{_name}", f"connect to {_what}", _run, stops=REFUSALS)


def _sends(host: str, port: int, family: int = socket.AF_INET) -> Try:
    def run(plan: Plan) -> str | None:
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.settimeout(_SILENT)
            one.sendto(b"portcullis", (host, port or plan.udp))
            if port == 0:
                return said(one.recv(256), plan)
            return "a datagram left"

    return run


for _name, _what, _run in (
    ("udp_loopback", "a server on the machine's loopback", _sends("127.0.0.1", 0)),
    ("udp_dns", "a name server", _sends("8.8.8.8", 53)),
    ("udp_dns6", "a name server by IPv6", _sends("2001:4860:4860::8888", 53, socket.AF_INET6)),
    ("udp_ntp", "a time server", _sends("162.159.200.1", 123)),
    ("udp_quic", "a web server over QUIC", _sends("1.1.1.1", 443)),
    ("udp_multicast", "a multicast group", _sends("239.255.255.250", 1900)),
    ("udp_multicast6", "an IPv6 multicast group", _sends("ff02::fb", 5353, socket.AF_INET6)),
):
    REGISTER.add(
        f"network.{_name}",
        f"send a datagram to {_what}",
        _run,
        stops=REFUSALS | {errno.EINVAL} if "6" in _name else REFUSALS,
    )


@attempt("network.udp_broadcast", "send a datagram to everybody")
def broadcast(plan: Plan) -> str | None:
    """255.255.255.255, port 67."""
    del plan
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        one.sendto(b"portcullis", ("255.255.255.255", 67))
    return "it left"


@attempt("network.resolve", "resolve a name by whatever the C library asks")
def resolve(plan: Plan) -> str | None:
    """Its label could carry any secret."""
    del plan
    try:
        found = socket.getaddrinfo("portcullis-secret.example.com", 443)
    except socket.gaierror:
        return None
    return f"{len(found)} addresses"


@attempt("network.resolvers", "ask each name server that the box knows of")
def resolvers(plan: Plan) -> str | None:
    """Those of /etc/resolv.conf, and the usual local ones, with a question of our own."""
    del plan
    try:
        lines = Path("/etc/resolv.conf").read_text().splitlines()
    except OSError:
        lines = []
    servers = [line.split()[1] for line in lines if line.startswith("nameserver")]
    question = bytes.fromhex("123401000001000000000000") + b"\6secret\7example\3com\0\0\x10\0\1"
    for server in (*servers, "127.0.0.53", "127.0.0.1", "127.0.0.11", "169.254.20.10"):
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.settimeout(0.4)
            try:
                one.sendto(question, (server, 53))
                answer = one.recv(512)
            except OSError:
                continue
            if answer[3] & 15 == 0:
                return f"{server} answered"
    return None


def _opens(family: int, kind: int, protocol: int = 0) -> Try:
    def run(plan: Plan) -> str | None:
        del plan
        socket.socket(family, kind, protocol).close()
        return "it was opened"

    return run


_RAW, _DGRAM, _SEQ, _STREAM = 3, 2, 5, 1
for _name, _what, _run in (
    ("raw_icmp", "a raw ICMP socket", _opens(socket.AF_INET, _RAW, 1)),
    ("raw_tcp", "a raw TCP socket", _opens(socket.AF_INET, _RAW, 6)),
    ("raw6", "a raw IPv6 socket", _opens(socket.AF_INET6, _RAW, 58)),
    ("packet", "a socket for frames (AF_PACKET)", _opens(17, _RAW, 0x0300)),
    ("packet_dgram", "a cooked socket for frames", _opens(17, _DGRAM, 0x0300)),
    ("vsock", "a socket to the hypervisor (AF_VSOCK)", _opens(40, _STREAM)),
    ("alg", "a socket to the kernel's ciphers (AF_ALG)", _opens(38, _SEQ)),
    ("key", "a socket to IPsec's keys (AF_KEY)", _opens(15, _RAW, 2)),
    ("xdp", "a socket past the stack (AF_XDP)", _opens(44, _RAW)),
    ("bluetooth", "a Bluetooth socket", _opens(31, _RAW, 1)),
    ("can", "a CAN bus socket", _opens(29, _RAW, 1)),
    ("tipc", "a TIPC socket", _opens(30, _SEQ)),
    ("rds", "an RDS socket", _opens(21, _SEQ)),
    ("smc", "an SMC socket", _opens(43, _STREAM)),
    ("x25", "an X.25 socket", _opens(9, _SEQ)),
    ("ax25", "an AX.25 socket", _opens(3, _DGRAM)),
    ("nfc", "an NFC socket", _opens(39, _SEQ, 1)),
    ("qipcrtr", "a socket to other processors (AF_QIPCRTR)", _opens(42, _DGRAM)),
    ("kcm", "a kernel connection multiplexer", _opens(41, _DGRAM)),
    ("sctp", "an SCTP socket", _opens(socket.AF_INET, _STREAM, 132)),
    ("dccp", "a DCCP socket", _opens(socket.AF_INET, 6, 33)),
    ("mptcp", "a multipath TCP socket", _opens(socket.AF_INET, _STREAM, 262)),
    ("netlink_audit", "a socket to the audit system", _opens(16, _RAW, 9)),
    ("netlink_filter", "a socket to the packet filter", _opens(16, _RAW, 12)),
    ("netlink_events", "a socket to the kernel's events", _opens(16, _RAW, 15)),
    ("netlink_xfrm", "a socket to IPsec's policy", _opens(16, _RAW, 6)),
    ("netlink_generic", "a generic netlink socket", _opens(16, _RAW, 16)),
    ("netlink_crypto", "a socket to the crypto layer", _opens(16, _RAW, 21)),
    ("netlink_diag", "a socket that lists all sockets", _opens(16, _RAW, 4)),
):
    REGISTER.add(
        f"sockets.{_name}", f"open {_what}", _run, stops=REFUSALS | {errno.EINVAL, errno.EPROTO}
    )


@attempt("network.interfaces", "see an interface that is not a loopback of its own")
def interfaces(plan: Plan) -> str | None:
    """By name, over ioctl or netlink as the C library does it."""
    del plan
    more = [name for _, name in socket.if_nameindex() if name not in {"lo", "sit0", "tunl0"}]
    return f"{more}" if more else None


@attempt("network.routes", "have a route to anywhere")
def routes(plan: Plan) -> str | None:
    """/proc/net/route and its IPv6 sibling."""
    del plan
    v4 = [line for line in Path("/proc/net/route").read_text().splitlines()[1:] if line.strip()]
    v6 = [
        line
        for line in Path("/proc/net/ipv6_route").read_text().splitlines()
        if line.split()[-1] != "lo"
    ]
    return f"{len(v4) + len(v6)} routes" if v4 or v6 else None


@attempt("network.addresses", "see the machine's connections")
def connections(plan: Plan) -> str | None:
    """The launcher's own server is in /proc/net/tcp where the network is shared."""
    mark = f":{plan.tcp:04X} "
    return "they are shown" if mark in Path("/proc/net/tcp").read_text() else None


@attempt("network.unix_names", "see the machine's Unix sockets")
def unix_names(plan: Plan) -> str | None:
    """/proc/net/unix."""
    shown = Path("/proc/net/unix").read_text()
    return "they are shown" if plan.abstract and plan.abstract in shown else None


@attempt(
    "network.add_address",
    "give its loopback the metadata's address",
    stops=REFUSALS | {errno.ENOTTY},  # the kernel says EPERM: ENOTTY is a filter's
)
def add_address(plan: Plan) -> str | None:
    """SIOCSIFADDR: who can set addresses can also make interfaces."""
    del plan
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        where = struct.pack("16sHH4s8x", b"lo:1", 2, 0, socket.inet_aton("169.254.169.254"))
        fcntl.ioctl(one, 0x8916, where)
    return "it was given"


@attempt("network.new_interface", "make an interface (RTM_NEWLINK)")
def new_interface(plan: Plan) -> str | None:
    """A dummy one, over a routing socket."""
    del plan
    with socket.socket(16, _RAW, 0) as one:
        one.settimeout(_SILENT)
        kind = struct.pack("<HH", 10, 1) + b"dummy\0\0\0"
        info = struct.pack("<HH", 4 + len(kind), 18) + kind
        body = struct.pack("<BxHiII", 0, 0, 0, 0, 0) + info
        one.send(struct.pack("<IHHII", 16 + len(body), 16, 0x605, 1, 0) + body)
        answer = one.recv(4096)
        code = -struct.unpack_from("<i", answer, 16)[0]
    if code:
        raise OSError(code, os.strerror(code))
    return "it was made"


@attempt("network.tun", "make a tunnel (TUNSETIFF)")
def tun(plan: Plan) -> str | None:
    """Over its device."""
    del plan
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", b"tun9", 1))
    return "it was made"


@attempt("network.bind_device", "bind a socket to the machine's card")
def bind_device(plan: Plan) -> str | None:
    """The usual names."""
    del plan
    for name in (b"eth0", b"ens3", b"enp0s3", b"docker0", b"wlan0"):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
            try:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
            except OSError as error:
                if error.errno in REFUSALS:
                    continue
                raise
            return name.decode()
    return None


@attempt("network.packet_filter", "change the packet filter (IPT_SO_GET_INFO)")
def packet_filter(plan: Plan) -> str | None:
    """Asked only; the old interface of iptables, full of holes in its time."""
    del plan
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, 255) as one:
        one.getsockopt(0, 64, 84)
    return "it answered"


@attempt(
    "network.upper_protocol",
    "attach an upper protocol to a socket (TCP_ULP)",
    stops=REFUSALS | FULL | {errno.ENOTCONN},
)
def upper(plan: Plan) -> str | None:
    """Kernel TLS on a connection to itself: loads code on demand, and is no tool's need."""
    del plan
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
        client.setsockopt(6, 31, b"espintcp")
    return "it was attached"
