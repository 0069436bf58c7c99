"""The account that the server runs as, and what it may reach."""

import os
import pwd
import stat
from pathlib import Path
from typing import NamedTuple

from app.core.embedded.errors import EmbeddedPostgresError

UNPRIVILEGED = ("postgres", "nobody")


class Account(NamedTuple):
    """A user and its group, by number."""

    uid: int
    gid: int


def account_for(cluster: Path) -> Account:
    """Who runs the server: this process's own account; for root the owner of the data, else an unprivileged account that exists.

    Raises `EmbeddedPostgresError` when root finds none.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedPostgresError(
        f"PostgreSQL does not run as root, and there is no account {' or '.join(UNPRIVILEGED)}: "
        "add one, run as another user or set DATABASE_URL"
    )


def gateway_name() -> str:
    """The name of this process's account, as the server will learn it from the kernel. Raises `EmbeddedPostgresError` if it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise EmbeddedPostgresError(
            f"PostgreSQL needs an account with a name, and user {os.geteuid()} is not in the user database: "
            "run as a user that is, or set DATABASE_URL"
        ) from None


def reaches(account: Account, path: Path) -> bool:
    """Whether the account may run a program, or enter a folder, by its path. Judged by modes alone: access lists are not read."""
    path = path.resolve()
    if account.uid == os.geteuid():
        return os.access(path, os.X_OK)
    needed = stat.S_IXOTH if path.is_dir() else stat.S_IXOTH | stat.S_IROTH
    return _allowed(account, path, needed) and all(_allowed(account, parent, stat.S_IXOTH) for parent in path.parents)


def _allowed(account: Account, path: Path, permission: int) -> bool:
    found = path.stat()
    if found.st_uid == account.uid:
        permission <<= 6
    elif found.st_gid == account.gid:
        permission <<= 3
    return found.st_mode & permission == permission
