"""Runs a PostgreSQL program without privileges, and not beyond the life of its parent.

A script of its own, run as `python -I -S launch.py PARENT UID GID PROGRAM ARGUMENT...`, because code between fork and exec is unsafe in a
process with threads (and Python warns of it). PARENT is the process whose end ends the program; UID and GID count when run by root.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38


def drop_privileges(uid: int, gid: int) -> None:
    """Become another account for good; PostgreSQL will not run as root."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def follow(parent: int) -> None:
    """Have the kernel send SIGINT, PostgreSQL's fast shutdown, when the parent ends. Linux only: elsewhere the next start cleans up."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((PR_SET_NO_NEW_PRIVS, 1), (PR_SET_PDEATHSIG, signal.SIGINT)):
        if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl failed")
    if os.getppid() != parent:
        sys.exit("the parent ended before the start")


def main(parent: str, uid: str, gid: str, *command: str) -> None:
    """Replace this process by the program; on failure say why and exit with 1."""
    try:
        os.umask(0o077)
        drop_privileges(int(uid), int(gid))
        # A change of account clears the death signal, so it is asked for afterwards.
        follow(int(parent))
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execv(command[0], command)  # noqa: S606 - the program and its arguments are the gateway's own
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
