"""Two users of an etcd: one who may use the keys of CCN, and one who may use none."""

from __future__ import annotations

from typing import Any

from aetcd import rpc  # type: ignore[import-untyped]

from ccn.etcd.signin import EtcdUser

CCN, STRANGER = EtcdUser("ccn", "hunter2"), EtcdUser("stranger", "hunter3")


async def ask_for_users(opened: Any) -> None:
    """Have the etcd at the other end of this channel let nobody else in."""
    async with opened as channel:
        auth: Any = rpc.AuthStub(channel)
        for user in (EtcdUser("root", "root"), CCN, STRANGER):
            await auth.UserAdd(rpc.AuthUserAddRequest(name=user.name, password=user.password))
        for role in ("root", "ccn"):
            await auth.RoleAdd(rpc.AuthRoleAddRequest(name=role))
            await auth.UserGrantRole(rpc.AuthUserGrantRoleRequest(user=role, role=role))
        keys = rpc.Permission(permType=rpc.Permission.READWRITE, key=b"/ccn/", range_end=b"/ccn0")
        await auth.RoleGrantPermission(rpc.AuthRoleGrantPermissionRequest(name="ccn", perm=keys))
        await auth.AuthEnable(rpc.AuthEnableRequest())
