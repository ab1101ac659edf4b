"""What a cluster of containers needs before it runs: `credentials`, then `database`; later `admin`.

    credentials   the authority, certificates and passwords that are missing, and new ones for those that
                  end soon; each service's own in its own volume, which it sees as /run/secrets
    database      the schema of this version, the roles with their passwords, the first admin
    admin         says who the first admin is, and its password once

Compose runs the first two at every `up`, in the image of CCN. Nothing here prints a secret but `admin`, of
which no log is kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ccn.certificates import identity
from ccn.certificates.issuing import IssuedCertificate, LinkUse
from ccn.cli.cluster import first_admin
from ccn.cli.cluster.credentials import gateway_credentials, link_certificates
from ccn.cli.cluster.credentials.link_certificates import LinkCertificate
from ccn.core.ids import NodeId
from ccn.store.connection import migrate, roles

CREDENTIALS = Path("/credentials")
MINE = Path("/run/secrets")
ENV_FILE = Path("/compose/.env")
NODES = ("node-1", "node-2", "node-3")
CCN_UID = 10001
STAND_IN = "http://stand-in:7790"
CLAUDE = "https://api.anthropic.com"
Give = Callable[[Path, int], None]
PASSWORDS = ("owner", roles.NODE, roles.GATEWAY, "redis")


def make_credentials(base: Path, now: datetime, env_file: Path, *, give: Give) -> None:
    """Make what is missing, in the folder of each service, and give the folder to its user."""
    authority = link_certificates.load_or_make_authority(base / "authority", now)
    passwords = {name: keep_password(base / "authority" / name) for name in PASSWORDS}
    for folder, wanted in plan_certificates():
        issue(base / folder, wanted, authority, now)
    write(
        base / "proxy" / "proxy.pem",
        "".join((base / "proxy" / f"door.{end}").read_text() for end in ("pem", "key")),
    )
    write(base / "postgres" / "owner.password", passwords["owner"])
    write(base / "redis" / "users.acl", write_acl(passwords["redis"]))
    write(base / "operator" / "owner.url", database_url("ccn", passwords["owner"]))
    model = write_model(read_env_file(env_file))
    for folder, role in [
        *((node, roles.NODE) for node in NODES),
        ("gateway", roles.GATEWAY),
        ("operator", roles.NODE),
    ]:
        write(base / folder / "database.url", database_url(role, passwords[role]))
        write(base / folder / "redis.url", f"rediss://ccn:{passwords['redis']}@redis:6379/0")
        write(base / folder / "model.toml", model if folder in NODES else without_key(model))
    for role in (roles.NODE, roles.GATEWAY):
        write(base / "operator" / f"{role}.password", passwords[role])
    for folder, user in list_owners():
        give(base / folder, user)


def plan_certificates() -> Iterator[tuple[str, Sequence[LinkCertificate]]]:
    """Name each folder, and the certificates that belong into it."""
    for node in NODES:
        yield node, link_certificates.plan_node(NodeId(node), [node])
    yield "gateway", gateway_credentials.plan_gateway(NodeId("gateway"), ["gateway"])
    for server in ("postgres", "etcd", "redis"):
        yield server, [link_certificates.plan_server(server, ())]
    hosts = (*identity.LOOPBACK, "proxy", *identity.check_hosts(os.environ.get("PROXY_HOSTS", "").split()))
    yield "proxy", [LinkCertificate("door", "proxy", hosts, LinkUse.SERVER)]
    yield "monitoring", []
    yield "operator", []


def list_owners() -> Iterator[tuple[str, int]]:
    """Name each folder, and the user of the container that reads it."""
    for folder in (*NODES, "gateway", "operator"):
        yield folder, CCN_UID
    yield "etcd", 0
    for folder in ("postgres", "redis", "proxy", "monitoring"):
        yield folder, int(os.environ[f"UID_{folder.upper()}"])


def issue(
    folder: Path, wanted: Sequence[LinkCertificate], authority: IssuedCertificate, now: datetime
) -> None:
    """Put certificates that are missing or end soon into a folder, and whom to trust."""
    link_certificates.issue_missing(folder, wanted, authority, now)
    write(folder / "ca.pem", authority.certificate.decode())


def keep_password(file: Path) -> str:
    """Return the password in a file, which is made at the first time."""
    if not file.exists():
        write(file, secrets.token_urlsafe(32))
    return file.read_text()


def database_url(role: str, password: str) -> str:
    """Write where a role finds the database; the settings say whose certificate counts."""
    return f"postgresql://{role}:{password}@postgres:5432/ccn"


def write_acl(password: str) -> str:
    """Write who may do what in Redis: doors count, probes ask whether it lives, nobody administers."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    doors = f"user ccn on #{digest} ~* +@all -@admin -@dangerous"
    return f"user default off\n{doors}\nuser probe on nopass -@all +ping\n"


def write_model(chosen: dict[str, str]) -> str:
    """Write the settings of the model: that of Claude if there is a key, else the stand-in."""
    key = chosen.get("CCN_CLAUDE_API_KEY") or chosen.get("ANTHROPIC_API_KEY") or ""
    url = os.environ.get("MODEL_URL") or (CLAUDE if key else STAND_IN)
    lines = ["[claude]", f"base_url = {quote(url)}", f"stand_in = {'true' if url == STAND_IN else 'false'}"]
    return "\n".join([*lines, f"api_key = {quote(key)}" if key else "", ""])


def without_key(model: str) -> str:
    """The same for those that call no model."""
    return "".join(line + "\n" for line in model.splitlines() if not line.startswith("api_key"))


def read_env_file(file: Path) -> dict[str, str]:
    """Read the variables of an .env file, which may be missing."""
    lines = file.read_text().splitlines() if file.exists() else []
    pairs = (
        line.removeprefix("export ").partition("=") for line in map(str.strip, lines) if line[:1] != "#"
    )
    return {name.strip(): value.strip().strip("'\"") for name, found, value in pairs if found}


def quote(text: str) -> str:
    """Write a text for TOML. Refuse what could end it."""
    if '"' in text or "\\" in text or not text.isprintable():
        raise SystemExit("a value in .env has quotes, backslashes or control characters in it")
    return f'"{text}"'


def write(file: Path, text: str) -> None:
    """Replace a file, which only its owner reads."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
    new.replace(file)


def give_folder(folder: Path, user: int) -> None:
    """Let one user read a folder, and nobody else."""
    for path in (*folder.iterdir(), folder):
        os.chown(path, user, user)
    folder.chmod(0o700)


async def prepare_database(mine: Path) -> str:
    """Migrate, let the roles in, make the first admin; say what was done."""
    verified = f"?sslmode=verify-full&sslrootcert={mine / 'ca.pem'}"
    owner = (mine / "owner.url").read_text() + verified
    done = await migrate.apply_pending(owner)
    passwords = {role: (mine / f"{role}.password").read_text() for role in (roles.NODE, roles.GATEWAY)}
    await roles.grant_roles(owner, passwords)
    admin = await first_admin.ensure_admin(owner, mine / "admin.key")
    if admin is not None and admin.password:
        write(mine / "admin.password", admin.password)
    return f"{len(done.pending)} schema files ran, {len(done.applied)} had run before"


def show_admin(mine: Path) -> str:
    """Say the first admin's name and password, once."""
    file = mine / "admin.password"
    if not file.exists():
        return "the password was shown before; `ccn user password admin` makes a new one"
    password = file.read_text()
    file.unlink()
    return f"user      {first_admin.NAME}\npassword  {password}\nThis is shown once."


def main() -> None:
    """Do what the argument says."""
    match sys.argv[1:]:
        case ["credentials"]:
            os.umask(0o077)
            make_credentials(CREDENTIALS, datetime.now(UTC), ENV_FILE, give=give_folder)
            told = "certificates and passwords are there"
        case ["database"]:
            told = asyncio.run(prepare_database(MINE))
        case ["admin"]:
            told = show_admin(MINE)
        case _:
            raise SystemExit("usage: setup.py credentials | database | admin")
    print(told, flush=True)


if __name__ == "__main__":
    main()
