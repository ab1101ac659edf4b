"""A door beyond this machine has a certificate, or somebody said aloud that it needs none.

Separate from both doors, because neither opens without asking here.
"""

from __future__ import annotations

from ccn import errors, settings
from ccn.core.identity import address


def refuse_plain_door(link: str, host: str, door: settings.DoorTls) -> None:
    """Refuse a door in the clear where others than this machine reach it."""
    if door.tls_certificate is not None or door.insecure or address.is_loopback(host):
        return
    prefix = f"CCN_{link.upper()}"
    raise errors.SettingsInvalid(
        f"{prefix}_HOST: {host} is beyond this machine, where everybody on the way could read along: set "
        f"{prefix}_TLS_CERTIFICATE and {prefix}_TLS_KEY, or {prefix}_INSECURE=true if a proxy before this "
        "door speaks TLS"
    )
