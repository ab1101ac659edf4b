"""The servers that this node calls: PostgreSQL, etcd and Redis.

What is wrong with the way to them is said before anything else is begun, and the files of their
certificates are read again while the node runs.
"""

from __future__ import annotations

from ccn import settings
from ccn.certificates.watch import CertificateWatches
from ccn.etcd import access
from ccn.etcd.link import EtcdLink
from ccn.service import clock
from ccn.store.connection import hosts
from ccn.store.encryption import link as links


def prepare_servers(chosen: settings.Settings) -> settings.Settings:
    """Return the settings with the whole URL of the database; refuse ways that could not be used."""
    url = hosts.prepare_url(chosen.database.url.get_secret_value(), chosen.database)
    if (link := links.find_link(url)) is not None:
        link.read_pems(clock.utc_now)
    access.read_access(chosen.etcd, clock.utc_now())
    return chosen.model_copy(update={"database": chosen.database.with_url(url)})


def watch_etcd(chosen: settings.EtcdSettings, certificates: CertificateWatches) -> EtcdLink:
    """Return the way to etcd, whose connections are made anew whenever the files hold something else."""
    link = EtcdLink(access.read_access(chosen, clock.utc_now()))
    if link.access.tls is not None:
        watch = certificates.add_link("etcd", lambda: access.read_access(chosen, clock.utc_now()))
        watch.on_change(link.renew)
    return link


async def watch_database(url: str, certificates: CertificateWatches) -> None:
    """Have new connections show what the files hold, whenever that has changed."""
    link = links.find_link(url)
    if link is None:
        return
    watch = certificates.add_link("database", lambda: link.read_pems(clock.utc_now))
    watch.on_change(link.renew)
    if watch.current is not None:
        await link.renew(watch.current)  # it may have changed since the first connection
