"""The servers that this node calls: PostgreSQL, etcd and Redis.

What is wrong with the way to them is said before anything else is begun, and the files of their
certificates are read again while the node runs.
"""

from __future__ import annotations

from ccn import settings
from ccn.certificates.client_link import ClientLink
from ccn.certificates.watch import CertificateWatches
from ccn.etcd import access
from ccn.etcd.link import EtcdLink
from ccn.gateway import redis_link
from ccn.gateway.limiting import Limiter
from ccn.service import clock
from ccn.store.connection import hosts
from ccn.store.encryption import link as links


def prepare_servers(chosen: settings.Settings) -> settings.Settings:
    """Return the settings with the whole URL of the database; refuse ways that could not be used."""
    url = hosts.prepare_url(chosen.database.url.get_secret_value(), chosen.database)
    if (link := links.find_link(url)) is not None:
        link.read_pems(clock.utc_now)
    access.read_access(chosen.etcd, clock.utc_now())
    redis = redis_link.find_link(chosen.limits)
    if redis is not None and redis.tls is not None:
        redis.tls.read_pems(clock.utc_now)
    return chosen.model_copy(update={"database": chosen.database.with_url(url)})


def watch_etcd(chosen: settings.EtcdSettings, certificates: CertificateWatches) -> EtcdLink:
    """Return the way to etcd, whose connections are made anew whenever the files hold something else."""
    link = EtcdLink(access.read_access(chosen, clock.utc_now()))
    if link.access.tls is not None:
        watch = certificates.add_link("etcd", lambda: access.read_access(chosen, clock.utc_now()))
        watch.on_change(link.renew)
    return link


def watch_database(url: str, certificates: CertificateWatches) -> None:
    """Have new connections show what the files hold, whenever that has changed."""
    _watch_link("database", links.find_link(url), certificates)


def watch_redis(limiter: Limiter, certificates: CertificateWatches) -> None:
    """Do the same for Redis."""
    _watch_link("redis", limiter.link.tls if limiter.link is not None else None, certificates)


def _watch_link(name: str, link: ClientLink | None, certificates: CertificateWatches) -> None:
    if link is None:
        return
    certificates.add_link(name, lambda: link.read_pems(clock.utc_now)).on_change(link.renew)
    link.reload()  # the files may have changed since the first connection
