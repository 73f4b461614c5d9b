"""Mail over SMTP: one connection, a transaction a recipient, so that one refusal does not stop the others."""

from __future__ import annotations

import smtplib
import ssl
import threading
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Literal

from tasks.errors import NoticeError
from tasks.notices.notice import ATTACHED, Notice
from tasks.notices.wording import plain_text
from tasks.platform.secrets import masked

ANSWER_LIMIT = 200
GOODBYE = 421
# Subjects stay on one line: Python folds a long one before its first word, and some show the gap.
ON_THE_WIRE = policy.SMTP.clone(max_line_length=250)
AUTHORITIES = "If the server is the office's own, name its certificate under `notices.mail.ca`."


@dataclass(frozen=True)
class MailServer:
    """Where mail is handed in. ``password`` is the secret itself: kept out of every text."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    sender: str
    user: str = ""
    password: str = field(default="", repr=False)
    ca: Path | None = None
    timeout: float = 30.0

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Mailer:
    """Sends notices over one connection, made when first needed and again where the server ended it.

    Several threads may send: one at a time has the connection.
    """

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._smtp: smtplib.SMTP | None = None
        self._lock = threading.Lock()
        self.connections = 0

    def send(self, address: str, notice: Notice) -> str:
        """Hand in one mail to one recipient; returns what the server answered. Raises NoticeError."""
        message = message_of(notice, self._server.sender, address)
        with self._lock:
            try:
                return self._transaction(address, message)
            except (smtplib.SMTPException, OSError, ValueError) as error:
                # An answer leaves the connection good for the next recipient; 421 is the server's goodbye.
                if not isinstance(error, smtplib.SMTPResponseException) or error.smtp_code == GOODBYE:
                    self._drop()
                failure = self._failure(error)
        raise failure  # outside of `except`: what smtplib raised may hold what was sent

    def check(self) -> str:
        """Connect and log in, and send nothing; returns what was found. Raises NoticeError."""
        with self._lock:
            try:
                self._connected().noop()
            except (smtplib.SMTPException, OSError, ValueError) as error:
                self._drop()
                failure = self._failure(error)
            else:
                login = (
                    f"takes the login of {self._server.user}" if self._server.user else "asks for no login"
                )
                return f"{self._server} answers and {login}"
        raise failure

    def close(self) -> None:
        """Close the connection, if there is one."""
        with self._lock:
            self._drop()

    def _transaction(self, address: str, message: EmailMessage) -> str:
        smtp = self._connected()
        # Each step's answer is looked at here: sendmail() would swallow what the server says in the end.
        for code, answer in (smtp.mail(self._server.sender), smtp.rcpt(address)):
            if code not in (250, 251):
                self._reset(smtp)
                raise smtplib.SMTPResponseException(code, answer)
        code, answer = smtp.data(message.as_bytes(policy=ON_THE_WIRE))
        if code != 250:
            self._reset(smtp)
            raise smtplib.SMTPResponseException(code, answer)
        return self._said(code, answer)

    def _reset(self, smtp: smtplib.SMTP) -> None:
        """End a transaction and keep the connection for the next recipient."""
        with suppress(smtplib.SMTPException, OSError):
            smtp.rset()

    def _connected(self) -> smtplib.SMTP:
        if self._smtp is not None:
            with suppress(smtplib.SMTPException, OSError):
                if self._smtp.noop()[0] == 250:
                    return self._smtp
            self._drop()
        self._smtp = self._connect()
        self.connections += 1
        return self._smtp

    def _connect(self) -> smtplib.SMTP:
        server = self._server
        if server.security == "tls":
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, timeout=server.timeout, context=self._context()
            )
        else:
            smtp = smtplib.SMTP(server.host, server.port, timeout=server.timeout)
        try:
            if server.security == "starttls":
                smtp.starttls(context=self._context())
            smtp.ehlo_or_helo_if_needed()
            if server.user:
                _log_in(smtp, server)
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self._server.ca) if self._server.ca else None)

    def _drop(self) -> None:
        smtp, self._smtp = self._smtp, None
        if smtp is not None:
            with suppress(smtplib.SMTPException, OSError):
                smtp.quit()
            smtp.close()

    def _failure(self, error: Exception) -> NoticeError:
        server = self._server
        if not isinstance(error, smtplib.SMTPResponseException):
            return _connection_failure(server, error)
        said = self._said(error.smtp_code, error.smtp_error)
        # 4xx: not now (greylisting, a full mailbox, a server too busy); 5xx: never.
        final = error.smtp_code >= 500
        if isinstance(error, smtplib.SMTPAuthenticationError):
            hint = "Check `notices.mail.user` and the secret behind `notices.mail.password`."
            return NoticeError(
                f"{server} refused the login of {server.user}: {said}", hint=hint, permanent=final
            )
        return NoticeError(f"{server} says {said}", permanent=final)

    def _said(self, code: int, answer: bytes | str) -> str:
        text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
        secrets = (self._server.password, f"\0{self._server.user}\0{self._server.password}")
        return plain_text(masked(f"{code} {text}", secrets if self._server.password else ()), ANSWER_LIMIT)


def _log_in(smtp: smtplib.SMTP, server: MailServer) -> None:
    if f"{server.user}{server.password}".isascii():
        smtp.login(server.user, server.password)
        return
    # smtplib can't encode other letters; servers read UTF-8 (RFC 4616).
    plain = f"\0{server.user}\0{server.password}".encode()
    code, answer = smtp.docmd("AUTH", f"PLAIN {b64encode(plain).decode('ascii')}")
    if code not in (235, 503):
        raise smtplib.SMTPAuthenticationError(code, answer)


def _connection_failure(server: MailServer, error: Exception) -> NoticeError:
    """What went wrong below SMTP's answers, in words that hold nothing that was sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        cause = f"the certificate of {server} can't be trusted: {error.verify_message}"
        return NoticeError(cause, hint=AUTHORITIES, permanent=True)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        wanted = "STARTTLS" if server.security == "starttls" else "a login"
        return NoticeError(
            f"{server} offers no {wanted.removeprefix('a ')}",
            hint="Nothing was sent. Check `notices.mail.security` and the port.",
            permanent=True,
        )
    if isinstance(error, ssl.SSLError):
        return NoticeError(
            f"no encrypted connection to {server}: {error.reason or type(error).__name__}",
            hint="Check `notices.mail.security` and the port: tls is mostly 465, starttls 587.",
            permanent=True,
        )
    if isinstance(error, FileNotFoundError):
        return NoticeError(f"there is no file {server.ca} (`notices.mail.ca`)", permanent=True)
    return NoticeError(f"{server} {_broken(error, server.timeout)}")


def _broken(error: Exception, timeout: float) -> str:
    """What happened to a connection that broke; it may hold the next time."""
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return f"said nothing for {timeout:g} s"
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return "ended the connection"
    return f"can't be reached: {getattr(error, 'strerror', None) or type(error).__name__}"


def message_of(notice: Notice, sender: str, address: str) -> EmailMessage:
    """The mail to one recipient: text, the same as HTML, and the report as a page to keep."""
    message = EmailMessage()
    message["Subject"] = notice.subject
    message["From"] = f"Datasave <{sender}>"
    message["To"] = address
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    # Keeps holiday answers away (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{notice.text}{ATTACHED}\n" if notice.page else notice.text, cte="quoted-printable")
    message.add_alternative(notice.html, subtype="html", cte="quoted-printable")
    if notice.page:
        message.add_attachment(notice.page.encode("utf-8"), "text", "html", filename=notice.page_name)
    return message
