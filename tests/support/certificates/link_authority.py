"""An authority for one link in tests: what a server shows, what a client shows, and when each ends."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from ccn.certificates import issuing
from ccn.certificates.issuing import LinkUse

HERE = ("localhost", "127.0.0.1")
ENDED = -20
"""Days since which a certificate is there that lasts ten."""
Pair = tuple[Path, Path]


class LinkAuthority:
    """Issues into a folder; `ca` is the file that trusts it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._issued = issuing.issue_authority(datetime.now(UTC) - timedelta(days=60))
        self._number = 0
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self._issued.certificate)

    def issue_server(self, *names: str, since_days: int = 0) -> Pair:
        """A certificate for a server with these names, and its key."""
        return self._issue("server", names or HERE, LinkUse.SERVER, since_days)

    def issue_client(self, owner: str = "ccn_node", since_days: int = 0) -> Pair:
        """A certificate that a client shows, and its key."""
        return self._issue(owner, (), LinkUse.CLIENT, since_days)

    def issue_member(self, *names: str, since_days: int = 0) -> Pair:
        """A certificate for a server that also calls others of its kind, as those of etcd do."""
        return self._issue("member", names or HERE, LinkUse.BOTH, since_days)

    def put_client(self, pair: Pair) -> str:
        """Renew what a client shows, in the files it is in. Return its serial number."""
        return put_pair(pair, self.issue_client())

    def _issue(self, owner: str, names: tuple[str, ...], use: LinkUse, since_days: int) -> Pair:
        self._number += 1
        at = datetime.now(UTC) + timedelta(days=since_days)
        made = issuing.issue_link_certificate(self._issued, owner, names, use, at, 10)
        files = tuple(self._folder / f"{owner}-{self._number}.{end}" for end in ("pem", "key"))
        files[0].write_bytes(made.certificate)
        files[1].write_bytes(made.key)
        files[1].chmod(0o600)
        return files[0], files[1]


def put_pair(pair: Pair, issued: Pair) -> str:
    """Renew what is shown, in the files it is in: the key first. Return its serial number."""
    for file, new in zip(reversed(pair), reversed(issued), strict=True):
        file.write_bytes(new.read_bytes())
    return read_serial(issued[0].read_bytes())


def read_serial(pem: bytes) -> str:
    """The serial number of a certificate, as OpenSSL writes it: two digits a byte."""
    digits = f"{x509.load_pem_x509_certificate(pem).serial_number:X}"
    return digits.zfill(len(digits) + len(digits) % 2)


def serving_context(pair: Pair, clients: Path | None = None) -> ssl.SSLContext:
    """What a server of Python's shows; it wants certificates of clients if their authority is named."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    if clients is not None:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
