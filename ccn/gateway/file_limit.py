"""Reserves as many open files as a node's connection limits need, so that no door can close another.

Otherwise a flood at one port could take the last file, and the other ports could accept no connection. The
limit of the process is raised as far as the system allows. If that is too little, the node does not start.
"""

from __future__ import annotations

import contextlib
import resource

from ccn import errors, settings
from ccn.gateway.grpc import peer
from ccn.gateway.http import connection_limit

_OTHER_FILES = 256
"""The most files that logs, keys and connections to etcd, Redis, the model and other nodes need."""


def reserve_files(node_settings: settings.Settings) -> None:
    """Raise the limit of open files to what this node needs. If that fails, raise an error with advice."""
    needed = count_needed(node_settings)
    if (allowed := _raise_limit(needed)) < needed:
        raise errors.SettingsInvalid(
            f"this process may open {allowed} files, and its limits of connections need {needed}: raise "
            "the first (ulimit -n, LimitNOFILE= of systemd, --ulimit nofile= of docker), or lower "
            f"CCN_HTTP_CONNECTION_LIMIT ({node_settings.http.connection_limit}) and "
            f"CCN_GRPC_CONNECTION_LIMIT ({node_settings.grpc.connection_limit})"
        )


def count_needed(node_settings: settings.Settings) -> int:
    """Count the files that this node may have open at once."""
    silent = connection_limit.silent_limit(node_settings.http)
    handshakes = silent if node_settings.http.tls_certificate is not None else 0
    http = node_settings.http.connection_limit + silent + handshakes
    database = node_settings.database.pool_size + node_settings.database.search_pool_size
    return http + node_settings.grpc.connection_limit + peer.CONNECTIONS + database + _OTHER_FILES


def _raise_limit(needed: int) -> int:
    """Raise the limit of open files if it is lower, and return the limit that holds afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = hard == resource.RLIM_INFINITY  # some systems report this and still refuse a high limit
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed) if unlimited else hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
