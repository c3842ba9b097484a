"""Notices by mail: SMTP (RFC 5321) with STARTTLS (RFC 3207) or TLS from the first byte.

The library's client blocks, so each delivery has a thread; a server that drips is cut off, at
whatever point, and no thread keeps the process from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import smtplib
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from email.message import EmailMessage
from functools import partial
from threading import Lock
from typing import Final, cast

import structlog

from portcullis.core.errors import Problem
from portcullis.core.notice import Message
from portcullis.core.notice_ports import Later, Never
from portcullis.execution.notify.threads import in_thread
from portcullis.oversight.notice_mail import mail

SECONDS: Final = 30.0
"""The longest that one delivery may take."""
_SILENCE_SECONDS: Final = 10.0
_READY: Final = 220
_ABOUT_IT: Final = frozenset({552, 554, 555})
"""Replies after DATA that are about the mail itself (RFC 5321 section 4.2.3)."""


log = structlog.get_logger(__name__)


class MailTeller:
    """Implements ``Teller``. Without ``tls`` nothing is encrypted; it is ``starttls`` or not.

    ``login`` gives user and password, or None. ``domain`` stands in the mails' ids.
    """

    amends = False

    def __init__(
        self,
        server: str,
        *,
        tls: ssl.SSLContext | None,
        starttls: bool,
        login: Callable[[], tuple[str, str] | None],
        sender: str,
        to: Sequence[str],
        domain: str,
        seconds: float = SECONDS,
    ) -> None:
        host, _, port = server.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._tls = tls
        self._starttls = starttls
        self._login = login
        self._sender = sender
        self._to = tuple(to)
        self._domain = domain
        self._seconds = seconds

    async def tell(self, message: Message, reference: str) -> str:
        """Send it; ``reference`` is the first one's id, which the others are in reply to."""
        made = mail(message, self._sender, self._to, self._domain)
        delivery = _Delivery()
        try:
            async with asyncio.timeout(self._seconds):
                await in_thread(partial(self._send, made, delivery))
        except TimeoutError:
            raise Later("no answer in time", arrived=delivery.begun) from None
        finally:
            delivery.cut()
        return reference or str(made["Message-ID"])

    async def close(self) -> None:
        """Nothing is kept between two deliveries."""

    def _send(self, made: EmailMessage, delivery: _Delivery) -> None:
        """Deliver it. Raises Later or Never; their texts are codes and kinds."""
        try:
            login = self._login()
            smtp = self._connected(delivery)
            try:
                if login is not None:
                    smtp.login(*login)
                delivery.begin()
                refused = smtp.send_message(made)
                with contextlib.suppress(smtplib.SMTPException, OSError):  # it has been taken
                    smtp.quit()
            finally:
                smtp.close()
        except Problem as problem:
            raise Later(problem.detail) from None
        except smtplib.SMTPRecipientsRefused as error:
            raise Later(f"every recipient was refused: {_codes(error.recipients)}") from None
        except smtplib.SMTPDataError as error:
            said = f"the mail was refused: {error.smtp_code}"
            raise (Never if error.smtp_code in _ABOUT_IT else Later)(said) from None
        except smtplib.SMTPResponseException as error:
            raise Later(f"the server answered {error.smtp_code}") from None
        except smtplib.SMTPNotSupportedError:
            raise Later("the server does not offer what the configuration asks for") from None
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise Later(_named(error), arrived=delivery.begun) from None
        if refused:
            log.warning("notification_recipients_refused", codes=_codes(refused))

    def _connected(self, delivery: _Delivery) -> smtplib.SMTP:
        """A connection that is encrypted as configured, known to ``delivery`` from its start."""
        tls = None if self._tls is None else _Tls(self._tls, delivery)
        smtp = _Client(self._sender.rpartition("@")[2], delivery, None if self._starttls else tls)
        try:
            code, said = smtp.connect(self._host, self._port)
            if code != _READY:
                raise smtplib.SMTPConnectError(code, said)
            if tls is not None and self._starttls:
                smtp.starttls(context=cast("ssl.SSLContext", tls))  # it only wraps the socket
        except BaseException:
            smtp.close()
            raise
        return smtp


class _Delivery:
    """One delivery, as the loop and the thread see it. ``begun``: the server may have the mail."""

    def __init__(self) -> None:
        self.begun = False
        self._socket: socket.socket | None = None
        self._lock = Lock()
        self._over = False

    def over(self, through: socket.socket) -> None:
        """Say what it goes over. Raises OSError when nobody waits for it any more."""
        with self._lock:
            self._wanted()
            self._socket = through

    def begin(self) -> None:
        """Say that the mail is sent now. Raises OSError when nobody waits for that any more."""
        with self._lock:
            self._wanted()
            self.begun = True

    def _wanted(self) -> None:
        if self._over:
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))

    def cut(self) -> None:
        """End it at once."""
        with self._lock:
            self._over = True
            if self._socket is not None:
                with contextlib.suppress(OSError):  # below TLS: its own waits for nothing either
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _Tls:
    """Encrypts a delivery's connection; what it goes over is known before the handshake."""

    def __init__(self, context: ssl.SSLContext, delivery: _Delivery) -> None:
        self._context = context
        self._delivery = delivery

    def wrap_socket(self, sock: socket.socket, *, server_hostname: str) -> ssl.SSLSocket:
        """The one thing that the library's client asks of a context."""
        wrapped = self._context.wrap_socket(
            sock, server_hostname=server_hostname, do_handshake_on_connect=False
        )
        try:
            self._delivery.over(wrapped)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped


class _Client(smtplib.SMTP):
    """The library's client, whose socket the delivery knows before anything is read from it."""

    def __init__(self, name: str, delivery: _Delivery, tls: _Tls | None) -> None:
        super().__init__(local_hostname=name, timeout=_SILENCE_SECONDS)
        self._delivery = delivery
        self._tls = tls

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        self._host = host  # what a certificate is held against
        found = socket.create_connection((host, port), timeout)
        try:
            self._delivery.over(found)
        except OSError:
            found.close()
            raise
        return found if self._tls is None else self._tls.wrap_socket(found, server_hostname=host)


def _codes(refused: Mapping[str, tuple[int, bytes]]) -> str:
    return ", ".join(map(str, sorted({code for code, _ in refused.values()})))


def _named(error: Exception) -> str:
    """What kind of failure: the system's words for it, else its type; no address."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not trusted"
    if isinstance(error, ssl.SSLError):
        return "the TLS handshake failed"
    said = error.strerror if isinstance(error, OSError) else None
    return f"not reached: {said}" if said else type(error).__name__
