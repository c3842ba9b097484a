"""A proxy that a hostile agent would wish for: the proxy attempts must get through it.

It leads every request, in whatever form and to whatever host, to one server on loopback (nothing
leaves this machine), and answers every tunnel with a yes. ``gate`` does the same for its own port.
"""

import contextlib
import socket
import threading


class NaiveProxy:
    """Whatever is asked, ``port`` of loopback is where it leads; TLS ends at ``context``."""

    def __init__(self, port, context):
        self.leads_to, self.context = port, context
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        with peer, contextlib.suppress(OSError, ValueError):
            peer.settimeout(5)
            first = peer.recv(65536)
            if first[:1] == b"\x05":
                peer.sendall(b"\x05\x00")
            elif first[:1] == b"\x04":
                peer.sendall(b"\x00\x5a" + bytes(6))
            elif first[:1] == b"\x16":
                peer.sendall(b"\x16\x03\x03\x00\x00")
            elif first.startswith(b"PRI "):
                peer.sendall(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            elif b"Transfer-Encoding" in first:
                peer.sendall(
                    b"HTTP/1.1 404 Not Found\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" + self._said()
                )
            elif first[:8].upper() == b"CONNECT ":
                peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._tunnel(peer)
            else:
                peer.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + self._said())

    def _said(self):
        with socket.create_connection(("127.0.0.1", self.leads_to), 5) as out:
            return out.recv(4096)

    def _tunnel(self, peer):
        begins = peer.recv(1, socket.MSG_PEEK)
        if begins != b"\x16":
            peer.sendall(self._said())
            return
        with self.context.wrap_socket(peer, server_side=True) as inner:
            inner.recv(65536)
            inner.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + self._said())
