"""Lets gRPC agree on no TLS older than 1.3, in all of this process.

Separate from everything else here, because it has to be done before gRPC is imported.
"""

from __future__ import annotations

import os

_UNUSABLE = "ECDHE-PSK-CHACHA20-POLY1305"


def demand_tls_1_3() -> None:
    """Take the ciphers of TLS 1.2 away from gRPC, for whoever calls and whoever is called.

    Its Python API cannot name an oldest version. What gRPC does read, when it is imported, is a list of
    ciphers for TLS 1.2; those of 1.3 are not concerned. The one that is named here needs a key that both
    ends share beforehand, so there is none to agree on.
    """
    os.environ["GRPC_SSL_CIPHER_SUITES"] = _UNUSABLE  # noqa: TID251 - for gRPC, and no setting of ours
