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
from ccn.store.replicas import addresses


def prepare_servers(chosen: settings.Settings) -> settings.Settings:
    """Return the settings with the whole URL of the database; refuse ways that could not be used."""
    database = chosen.database
    url, replica_url = (
        hosts.prepare_url(named.get_secret_value(), database)
        for named in (database.url, database.replica_url)
    )
    prepared = database.with_url(url).with_replica_url(replica_url)
    for url in _list_links(prepared).values():
        if (link := links.find_link(url)) is not None:
            link.read_pems(clock.utc_now)
    access.read_access(chosen.etcd, clock.utc_now())
    redis = redis_link.find_link(chosen.limits)
    if redis is not None and redis.tls is not None:
        redis.tls.read_pems(clock.utc_now)
    return chosen.model_copy(update={"database": prepared})


def watch_etcd(chosen: settings.EtcdSettings, certificates: CertificateWatches) -> EtcdLink:
    """Return the way to etcd, whose connections are made anew whenever the files hold something else."""
    link = EtcdLink(access.read_access(chosen, clock.utc_now()))
    if link.access.tls is not None:
        watch = certificates.add_link("etcd", lambda: access.read_access(chosen, clock.utc_now()))
        watch.on_change(link.renew)
    return link


def watch_databases(database: settings.DatabaseSettings, certificates: CertificateWatches) -> None:
    """Have new connections show what the files hold, whenever that has changed."""
    for name, url in _list_links(database).items():
        _watch_link(name, links.find_link(url), certificates)


def watch_redis(limiter: Limiter, certificates: CertificateWatches) -> None:
    """Do the same for Redis."""
    _watch_link("redis", limiter.link.tls if limiter.link is not None else None, certificates)


def _list_links(database: settings.DatabaseSettings) -> dict[str, str]:
    """The URLs that connections are made to, by what the metrics call them."""
    replicas = addresses.list_replica_urls(database.replica_url.get_secret_value())
    named = {f"replica {place}": url for place, url in enumerate(replicas, 1)}
    return {"database": database.url.get_secret_value(), **named}


def _watch_link(name: str, link: ClientLink | None, certificates: CertificateWatches) -> None:
    if link is None:
        return
    certificates.add_link(name, lambda: link.read_pems(clock.utc_now)).on_change(link.renew)
    link.reload()  # the files may have changed since the first connection
