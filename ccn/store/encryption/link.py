"""The link of all connections of this process to one database.

We read the files of a URL and not asyncpg: so nothing older than TLS 1.3 is agreed on, files that are
renewed badly change nothing, and a refusal says whom it is about.
"""

from __future__ import annotations

from functools import cache

from ccn.certificates.client_link import ClientLink
from ccn.store.encryption import parameters

_SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""What a client says that wants TLS: a length of 8, and 80877103. PostgreSQL answers S or N."""


@cache
def find_link(url: str) -> ClientLink | None:
    """Return what connections to this URL use; None if it does not ask for verify-full."""
    wanted = parameters.read_wanted(url)
    if wanted is None:
        return None
    return ClientLink("PostgreSQL", wanted.files, f"{parameters.PREFIX}_URL", wanted.oldest)


async def explain_failure(link: ClientLink, host: str, port: int) -> str:
    """Say what TLS has against a connection to a server that failed; nothing if that was not TLS."""
    return await link.explain_failure(host, port, _SSL_REQUEST)
