"""Makes what a fresh cluster lacks, once: an authority and passwords, on the volume at /site.

/site/ca/       ca.pem, ca.key    init steps alone see it, and issue what their own pod shows
      public/   ca.pem
      secrets/  a folder for each kind of pod, of which a pod mounts its own
      ready     written last
"""

import pathlib
import secrets
import shutil
import subprocess

SITE = pathlib.Path("/site")
DATABASE = "postgresql://{role}:{password}@postgres.ccn.svc:5432/ccn"
REDIS = "rediss://ccn:{password}@valkey.ccn.svc:6379/0"


def write_secret(folder: str, name: str, content: str) -> None:
    """Write one secret into the folder of those that mount it."""
    place = SITE / "secrets" / folder
    place.mkdir(parents=True, exist_ok=True)
    (place / name).write_text(f"{content}\n")


def main() -> None:
    """Make everything, unless it is there; what a run that was cut off left is made anew."""
    if (SITE / "ready").exists():
        return
    for left in ("ca", "public", "secrets", "tls", "setup"):
        shutil.rmtree(SITE / left, ignore_errors=True)
    make_authority = ["ccn", "keys", "init", "--dir", str(SITE), "--node", "setup"]
    subprocess.run(make_authority, check=True, stdout=subprocess.DEVNULL)
    for unused in ("tls", "setup"):
        shutil.rmtree(SITE / unused)
    (SITE / "public").mkdir()
    shutil.copy(SITE / "ca" / "ca.pem", SITE / "public")
    superuser, owner, node, gateway, valkey = (secrets.token_urlsafe(24) for _ in range(5))
    roles = {"superuser": superuser, "owner": owner, "node": node, "gateway": gateway}
    for name, password in roles.items():
        write_secret("postgres", name, password)
    write_secret("schema", "owner-url", DATABASE.format(role="ccn", password=owner))
    write_secret("node", "database-url", DATABASE.format(role="ccn_node", password=node))
    write_secret("gateway", "database-url", DATABASE.format(role="ccn_gateway", password=gateway))
    for folder in ("node", "gateway"):
        write_secret(folder, "redis-url", REDIS.format(password=valkey))
    rights = "~* &* +@all -@admin -@dangerous +info"
    write_secret("valkey", "users.acl", f"user default off\nuser ccn on >{valkey} {rights}")
    (SITE / "ready").touch()


main()
