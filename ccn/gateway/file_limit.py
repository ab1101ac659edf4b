"""How many files a node may have open: what its limits of connections need, so that no door closes another.

A flood at one port would otherwise take the last file, and no other port could accept anybody. The limit of
the process is raised as far as it goes; a node whose limits do not fit into that does not start.
"""

from __future__ import annotations

import contextlib
import resource

from ccn import errors, settings
from ccn.gateway.grpc import peer
from ccn.gateway.http import connection_limit

_REST = 256
"""What connections to etcd, Redis, the model and the other nodes, logs and keys take at most."""


def reserve_files(chosen: settings.Settings) -> None:
    """Raise the limit of open files to what there is, or say what to change."""
    wanted = count_needed(chosen)
    if (most := _raise_limit(wanted)) < wanted:
        raise errors.SettingsInvalid(
            f"this process may open {most} files, and its limits of connections need {wanted}: raise that "
            "(ulimit -n, LimitNOFILE= of systemd, --ulimit nofile= of docker), or lower the others, "
            f"CCN_HTTP_CONNECTION_LIMIT ({chosen.http.connection_limit}) and "
            f"CCN_GRPC_CONNECTION_LIMIT ({chosen.grpc.connection_limit})"
        )


def count_needed(chosen: settings.Settings) -> int:
    """All that may be open at once."""
    http = chosen.http.connection_limit + connection_limit.silent_limit(chosen.http)
    database = chosen.database.pool_size + chosen.database.search_pool_size
    return http + chosen.grpc.connection_limit + peer.CONNECTIONS + database + _REST


def _raise_limit(wanted: int) -> int:
    """The limit as it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = hard == resource.RLIM_INFINITY  # which some systems say, and do not mean
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted) if unlimited else hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
