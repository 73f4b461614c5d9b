"""A real S3 server for tests: Ceph's radosgw with one monitor and one disk in memory, on free ports.

Debian's packages radosgw, ceph-mon, ceph-osd and ceph-common. Up in about 3 s; ended by process id.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.servers.clocks import faked, set_clock
from tests.servers.ports import free_ports

CONFIGURATION = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv4 = true
auth cluster required = none
auth service required = none
auth client required = none
run dir = {dir}/run
admin socket = {dir}/run/$name.asok
pid file =
log file = {dir}/log/$name.log
log to stderr = false
err to stderr = true
mon cluster log file = {dir}/log/cluster.log
crash dir = {dir}/log
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 2000
mon data avail crit = 1
mon data avail warn = 1
mon osd full ratio = .97
mon osd nearfull ratio = .96
mon osd backfillfull ratio = .965
mon warn on insecure global id reclaim allowed = false
mon warn on pool no redundancy = false
paxos propose interval = 0.05
paxos min wait = 0.01
mon tick interval = 1
[mon.a]
mon data = {dir}/mon/a
mon addr = [v2:127.0.0.1:{mon}]
mon warn on insecure global id reclaim = false
[osd.0]
osd data = {dir}/osd/0
osd objectstore = memstore
memstore device bytes = 6442450944
osd class load list = *
osd class default list = *
[client.rgw.a]
ms mon client mode = crc
rgw data = {dir}/rgw
rgw frontends = beast endpoint=127.0.0.1:{http} ssl_endpoint=127.0.0.1:{https} \
ssl_certificate={dir}/cert.pem ssl_private_key={dir}/key.pem tcp_nodelay=1
rgw enable apis = s3, admin
rgw thread pool size = 64
rgw enable usage log = false
rgw gc obj min wait = 2
rgw gc processor period = 2
rgw gc processor max time = 2
debug rgw = 1
"""


@dataclass(frozen=True)
class Keys:
    """A user's access keys."""

    user: str
    access: str
    secret: str


@dataclass
class Radosgw:
    """A running server. ``endpoint`` speaks http, ``endpoint_tls`` https with the certificate ``ca``.

    With ``clock``, a file that holds how far the gateway's clock is off (``+86400s``), that is its clock.
    """

    folder: Path
    endpoint: str
    endpoint_tls: str
    ca: Path
    admin: Keys = Keys("admin", "adminkey", "adminsecret")
    clock: Path | None = None
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _clients: dict[Keys, Any] = field(default_factory=dict)

    def command(self, *words: str) -> Any:
        """Run radosgw-admin; what it says, from JSON where it is JSON."""
        said = run("radosgw-admin", "-c", self.folder / "ceph.conf", *words)
        return json.loads(said) if said.startswith(("{", "[")) else said

    def user(self, name: str) -> Keys:
        """A new user without any rights."""
        keys = Keys(name, f"{name}-key", f"{name}-secret")
        words = (
            "--uid",
            name,
            "--display-name",
            name,
            "--access-key",
            keys.access,
            "--secret-key",
            keys.secret,
        )
        self.command("user", "create", *words)
        return keys

    def client(self, keys: Keys | None = None) -> Any:
        """A plain boto3 client, beside the target under test."""
        import boto3
        from botocore.config import Config

        keys = keys or self.admin
        if keys in self._clients:
            return self._clients[keys]
        config = Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
        )
        self._clients[keys] = boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=keys.access,
            aws_secret_access_key=keys.secret,
            config=config,
        )
        return self._clients[keys]

    def bucket(self, *, versions: bool = False, lock: bool = False) -> str:
        """A new bucket of the administrator's; its name."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        client = self.client()
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock)
        if versions:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def grant(self, bucket: str, policies: dict[str, str]) -> None:
        """Give users (by id) rights on a bucket: policies as for a user, made into the bucket's own."""
        statements = [
            statement | {"Sid": f"{user}{number}", "Principal": {"AWS": [f"arn:aws:iam:::user/{user}"]}}
            for user, policy in policies.items()
            for number, statement in enumerate(json.loads(policy)["Statement"])
        ]
        for statement in statements:
            # radosgw 16 knows no GetObjectAttributes and refuses a policy that names it.
            statement["Action"] = [name for name in statement["Action"] if "Attributes" not in name]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        self.client().put_bucket_policy(Bucket=bucket, Policy=policy)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The gateway stopped in mid-air: its connections stay open, and nothing answers."""
        gateway = self.processes[-1]
        gateway.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            gateway.send_signal(signal.SIGCONT)

    @contextmanager
    def down(self) -> Iterator[None]:
        """No gateway at all: connections are refused. All that was stored is there again afterwards."""
        gateway = self.processes.pop()
        gateway.kill()
        gateway.wait()
        try:
            yield
        finally:
            start_gateway(self)

    def set_clock(self, ahead: float) -> None:
        """Make the gateway's clock run so many seconds ahead of the machine's, from the next request on."""
        assert self.clock, "this server goes by the machine's clock"
        set_clock(self.clock, ahead)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Radosgw]:
    """A server for the tests of one module."""
    with radosgw(tmp_path_factory.mktemp("radosgw")) as server:
        yield server


@contextmanager
def radosgw(folder: Path, *, own_clock: bool = False) -> Iterator[Radosgw]:
    """A server in an empty folder; with ``own_clock`` its gateway's can be set."""
    missing = [name for name in ("ceph-mon", "ceph-osd", "radosgw") if shutil.which(name) is None]
    assert not missing, f"not installed: {missing}; run tests/machine.sh tests"
    mon, http, https = free_ports(3)
    for name in ("mon", "osd/0", "log", "run", "rgw"):
        (folder / name).mkdir(parents=True)
    make_certificate(folder)
    fsid = str(uuid.uuid4())
    conf = folder / "ceph.conf"
    conf.write_text(CONFIGURATION.format(fsid=fsid, dir=folder, mon=mon, http=http, https=https))
    server = Radosgw(folder, f"http://127.0.0.1:{http}", f"https://127.0.0.1:{https}", folder / "cert.pem")
    if own_clock:
        server.clock = folder / "clock"
        set_clock(server.clock, 0)
    try:
        start(server, conf, fsid, mon)
        yield server
    finally:
        for process in reversed(server.processes):
            process.kill()
            process.wait()


def start(server: Radosgw, conf: Path, fsid: str, mon: int) -> None:
    monmap = server.folder / "monmap"
    run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{mon}]", monmap)
    run("ceph-mon", "-c", conf, "--mkfs", "-i", "a", "--monmap", monmap)
    spawn(server, "ceph-mon", "-c", conf, "-f", "-i", "a")
    until(lambda: run("ceph", "-c", conf, "--connect-timeout", "2", "osd", "create"))
    run("ceph-osd", "-c", conf, "-i", "0", "--mkfs", "--osd-uuid", str(uuid.uuid4()))
    spawn(server, "ceph-osd", "-c", conf, "-f", "-i", "0")
    until(lambda: "1 up" in run("ceph", "-c", conf, "osd", "stat"))
    keys = server.admin
    words = ("--uid", keys.user, "--display-name", "admin", "--access-key", keys.access)
    server.command("user", "create", *words, "--secret-key", keys.secret)
    for area, name in (("zonegroup", "--rgw-zonegroup"), ("zone", "--rgw-zone")):
        pool = ("--data-pool", "default.rgw.buckets.data") if area == "zone" else ()
        words = (area, "placement", "add", name, "default", "--placement-id", "default-placement")
        server.command(*words, "--storage-class", "GLACIER", *pool)
    start_gateway(server)


def start_gateway(server: Radosgw) -> None:
    """Start the gateway, the last of the processes, and wait until it answers."""
    environment = faked(server.clock) if server.clock else {}
    command = ("radosgw", "-c", server.folder / "ceph.conf", "-n", "client.rgw.a", "-f")
    spawn(server, *command, environment=environment)
    wait_for_port(int(server.endpoint.rpartition(":")[2]))


def run(*words: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def spawn(server: Radosgw, *words: object, environment: dict[str, str] | None = None) -> None:
    log = (server.folder / "log" / f"{words[0]}.out").open("ab")
    with log:
        process = subprocess.Popen(
            [str(word) for word in words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **(environment or {})},
        )
    server.processes.append(process)


def until(happened: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        with suppress(AssertionError):
            if happened():
                return
        assert time.monotonic() < end, "the server did not come up"
        time.sleep(0.1)


def wait_for_port(port: int, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < end, f"nothing listens on {port}"
            time.sleep(0.05)
        else:
            return


def make_certificate(folder: Path) -> None:
    """A self-signed certificate for 127.0.0.1: cert.pem and key.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    descriptor = os.open(folder / "key.pem", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(private)
