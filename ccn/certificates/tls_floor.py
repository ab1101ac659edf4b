"""Lets gRPC agree on no TLS older than 1.3, in all of this process.

Separate from everything else here, because it has to be done before gRPC is imported. The packages that
import gRPC for a node do it when they are imported themselves, so it holds for whoever starts one.
"""

from __future__ import annotations

import os
import sys

from ccn import errors

_VARIABLE = "GRPC_SSL_CIPHER_SUITES"
_UNUSABLE = "ECDHE-PSK-CHACHA20-POLY1305"


def demand_tls_1_3() -> None:
    """Take the ciphers of TLS 1.2 away from gRPC, for whoever calls and whoever is called.

    Its Python API cannot name an oldest version. What gRPC does read, when it is imported, is a list of
    ciphers for TLS 1.2; those of 1.3 are not concerned. The one that is named here needs a key that both
    ends share beforehand, so there is none to agree on.
    """
    if "grpc" not in sys.modules:  # which would not read it any more
        os.environ[_VARIABLE] = _UNUSABLE  # noqa: TID251 - for gRPC, and no setting of ours


def check_floor() -> None:
    """Refuse to open a door in a process whose gRPC would agree on something older."""
    if os.environ.get(_VARIABLE) != _UNUSABLE:  # noqa: TID251 - as above
        raise errors.SettingsInvalid(
            "this program imported grpc before ccn, so its door would take TLS 1.2: import ccn.gateway.grpc"
            f" first, or set {_VARIABLE}={_UNUSABLE}"
        )
