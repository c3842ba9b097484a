"""A hostile agent: as many connections as it can have, with requests that never end."""

import contextlib
import resource
import socket
import sys

most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 16
held = []
for number in range(4 * most):
    with contextlib.suppress(OSError):
        one = socket.create_connection(("127.0.0.1", 8700), timeout=1)
        one.sendall(
            b"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 9999\r\n"
        )
        held.append(one)
    if number == most:
        sys.stdout.write("up\n")
        sys.stdout.flush()
while True:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", 8700), timeout=0.05).close()
