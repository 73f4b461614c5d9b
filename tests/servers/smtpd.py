"""A real mail server on loopback: STARTTLS or TLS, logins asked for, mails kept; it refuses when told to.

Its certificate is signed by an authority made for it alone. Addresses that begin with ``bad`` are refused
(550), with ``full`` put off for good (452), with ``grey`` put off the first time, ``slow`` are answered late.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.servers.ports import free_port

USER = "datasave@office.example"
PASSWORD = "Zaunkönig-&-Wren"


@dataclass
class Received:
    """One transaction: whom it was for, and how it came."""

    recipients: list[str]
    message: EmailMessage
    encrypted: bool
    login: bool
    connection: int


@dataclass
class MailRoom:
    """What the server got, and how it behaves. ``asked`` counts each address; ``lag`` is in seconds."""

    port: int = 0
    ca: Path = Path()
    security: str = "starttls"
    lag: float = 5.0
    refuse_content: bool = False
    received: list[Received] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    logins: list[bool] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)

    @property
    def subjects(self) -> dict[str, list[str]]:
        """Subjects by recipient, in the order of their coming."""
        found: dict[str, list[str]] = {}
        for one in self.received:
            found.setdefault(one.recipients[0], []).append(str(one.message["Subject"]))
        return found

    def mail(self, *to: Any, **options: Any) -> dict[str, Any]:
        """The plan's ``mail`` for this server."""
        usual = {"server": "localhost", "port": self.port, "security": self.security, "ca": str(self.ca)}
        login = {"user": USER, "password": "env:SMTP_PASSWORD"}
        return {"to": list(to), **usual, **login, **options}

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        assert session.peer is not None
        if session.peer[1] not in self.connections:
            self.connections.append(session.peer[1])
        return responses

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.asked[address] += 1
        if address.startswith("bad"):
            return "550 5.1.1 No such user"
        if address.startswith("full") or (address.startswith("grey") and self.asked[address] == 1):
            return "452 4.2.2 Try again later"
        if address.startswith("slow"):
            await asyncio.sleep(self.lag)
        if address.startswith("talks"):
            return f"550 5.7.1 Not for {PASSWORD}"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.refuse_content:
            return "554 5.7.1 Rejected by policy"
        content = envelope.content
        assert isinstance(content, bytes) and session.peer is not None
        message = message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.received.append(
            Received(
                recipients=list(envelope.rcpt_tos),
                message=message,
                encrypted=session.ssl is not None or self.security == "tls",
                login=bool(session.authenticated),
                connection=self.connections.index(session.peer[1]) + 1,
            )
        )
        return "250 2.0.0 queued"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (
            USER.encode(),
            PASSWORD.encode(),
        )
        self.logins.append(right)
        return AuthResult(success=right, handled=False)


class _Implicit(Controller):
    def factory(self) -> SMTP:
        return SMTP(self.handler, **self.SMTP_kwargs)


@contextmanager
def mail_room(folder: Path, security: str = "starttls", **extra: Any) -> Iterator[MailRoom]:
    """A server of that security on a free port for as long as the block runs."""
    room = MailRoom(security=security, port=free_port())
    room.ca, context = authority(folder)
    login = {"authenticator": room.authenticate, "auth_required": security != "none"}
    common = {"hostname": "127.0.0.1", "port": room.port, "ready_timeout": 20, **login, **extra}
    if security == "tls":
        server: Controller = _Implicit(room, ssl_context=context, auth_require_tls=False, **common)
    elif security == "starttls":
        server = Controller(room, tls_context=context, require_starttls=True, auth_require_tls=True, **common)
    else:
        server = Controller(room, auth_require_tls=False, **common)
    server.start()
    try:
        yield room
    finally:
        server.stop()


def authority(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A new authority's certificate, and a server's context with a certificate signed by it."""
    folder.mkdir(parents=True, exist_ok=True)
    key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Office authority")])
    ca = _certificate(name, name, key.public_key(), key, ca=True)
    host = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    mine = _certificate(host, name, server_key.public_key(), key, ca=False)
    pem = serialization.Encoding.PEM
    for path, certificate in (("ca.pem", ca), ("server.pem", mine)):
        (folder / path).write_bytes(certificate.public_bytes(pem))
    (folder / "server.key").write_bytes(
        server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return folder / "ca.pem", context


def _certificate(
    subject: x509.Name, issuer: x509.Name, public: Any, signer: Any, *, ca: bool
) -> x509.Certificate:
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return builder.sign(signer, hashes.SHA256())
