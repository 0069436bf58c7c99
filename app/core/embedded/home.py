"""The server's folder: DATA_DIR/postgres with the data, the logs and the lock, and a private folder for the socket.

    postgres/            for a gateway that is root: its own, open to the server's group; nobody else enters
      lock               who runs it
      cluster/           the data, owned by the server's account
      cluster.*/         a cluster that was not finished; swept away
      log/               a file per weekday
      pg_hba.conf        who may connect; written at each start, like pg_ident.conf
      run                link to the folder with the socket

A socket's path may have 107 bytes at most, and DATA_DIR may be longer or closed: the socket lies among the system's temporary files.
Folders in which the server's account may write are never trusted by a gateway that is root: nothing in them is followed or chowned.
"""

import fcntl
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from app.core.embedded.account import Account, account_for, gateway_name, reaches
from app.core.embedded.errors import EmbeddedPostgresError
from app.core.embedded.leftovers import stop_leftovers
from app.core.embedded.lock import Lock

SOCKET = ".s.PGSQL.5432"
SOCKET_PATH_LIMIT = 107
PREFIX = "neurotracker-"
LOG_AGE = 6 * 24 * 3600


class Home:
    """Everything on disk that one server needs. Its methods block: call them in a thread."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir.absolute() / "postgres"
        self.cluster = self.path / "cluster"
        self.log = self.path / "log"
        self.account = Account(os.geteuid(), os.getegid())
        self.inherited: tuple[int, ...] = ()
        self._lock = Lock(self.path / "lock")
        self._runtime: Path | None = None
        self._held: list[int] = []

    @property
    def runtime(self) -> Path:
        """The private folder with the socket. Raises `EmbeddedPostgresError` while this home is not open."""
        if self._runtime is None:
            raise EmbeddedPostgresError("the embedded PostgreSQL is not running: start it first")
        return self._runtime

    @property
    def cluster_name(self) -> str:
        """A name by which the server's processes are recognised, whatever path leads to the folder."""
        found = self.path.stat()
        return f"{PREFIX}{found.st_dev:x}-{found.st_ino:x}"

    @property
    def seen_by_server(self) -> str:
        """The folder's path for the server: through the descriptor that it inherits where it may not walk the real path."""
        return f"/proc/self/fd/{self.inherited[0]}" if self.inherited else str(self.path)

    def open(self) -> None:
        """Lock the folder, clear away what an earlier run has left, and make what is missing.

        Raises `EmbeddedPostgresError` when another process uses the folder or the server could not work there; OSError when it cannot
        be made.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock.acquire()
        self.account = account_for(self.cluster)
        self._let_server_in()
        self._sweep()
        self._give(self.log)
        self._write_access_rules()
        self._runtime = self._make_runtime()

    def close(self) -> None:
        """Remove the socket's folder and release the lock; nothing happens when it is not open."""
        if not self._lock.held:
            return
        self._remove_runtime()
        for descriptor in self._held:
            os.close(descriptor)
        self._held, self.inherited, self._runtime = [], (), None
        self._lock.release()

    def new_cluster(self) -> Path:
        """An empty folder for a cluster in the making."""
        folder = Path(tempfile.mkdtemp(prefix="cluster.", dir=self.path))
        self._give(folder)
        return folder

    def adopt(self, cluster: Path) -> None:
        """Make a finished cluster the one that is used, lastingly."""
        cluster.rename(self.cluster)
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _let_server_in(self) -> None:
        if os.geteuid() == 0 and self.path.stat().st_uid == 0:
            os.chown(self.path, -1, self.account.gid)
            self.path.chmod(0o710)
        if reaches(self.account, self.path):
            return
        if sys.platform != "linux":
            raise EmbeddedPostgresError(f"user {self.account.uid}, who runs the server, cannot reach {self.path}: choose another DATA_DIR")
        self.inherited = (self._hold(self.path),)

    def _sweep(self) -> None:
        for unfinished in self.path.glob("cluster.*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        record = self.cluster / "postmaster.pid"
        if record.exists():
            stop_leftovers(self.cluster_name, self.account.uid)
            # Its process is gone, and PostgreSQL would take a stranger with the same number for it.
            record.unlink(missing_ok=True)
        # The server empties a weekday's file only while it runs past midnight.
        for old in self.log.glob("*.log"):
            if old.lstat().st_mtime < time.time() - LOG_AGE:
                old.unlink(missing_ok=True)
        self._remove_runtime()

    def _give(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.lstat().st_uid != self.account.uid:
            os.chown(folder, self.account.uid, self.account.gid, follow_symlinks=False)

    def _write_access_rules(self) -> None:
        quoted = gateway_name().replace('"', '""')
        for name, rule in (("pg_hba.conf", "local all all peer map=gateway\n"), ("pg_ident.conf", f'gateway "{quoted}" all\n')):
            # Replaced, not overwritten: whatever lies there under that name is not followed.
            descriptor, written = tempfile.mkstemp(dir=self.path)
            with os.fdopen(descriptor, "w") as file:
                os.fchmod(descriptor, 0o644)
                file.write(rule)
            Path(written).replace(self.path / name)

    def _make_runtime(self) -> Path:
        for parent in dict.fromkeys((Path(tempfile.gettempdir()), Path("/tmp"))):  # noqa: S108 - a private folder is made in it
            if len(os.fsencode(parent / f"{PREFIX}xxxxxxxx" / SOCKET)) <= SOCKET_PATH_LIMIT and reaches(self.account, parent):
                runtime = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
                os.chown(runtime, self.account.uid, self.account.gid)
                (self.path / "run").symlink_to(runtime)
                # Services that clear old temporary files pass over a folder that is locked.
                fcntl.flock(self._hold(runtime), fcntl.LOCK_EX | fcntl.LOCK_NB)
                return runtime
        raise EmbeddedPostgresError("the folder for temporary files is too long or closed for the server's socket: set TMPDIR to another")

    def _remove_runtime(self) -> None:
        link = self.path / "run"
        if not link.is_symlink():
            return
        runtime = link.readlink()
        if runtime.is_dir() and runtime.name.startswith(PREFIX) and runtime.lstat().st_uid in {self.account.uid, os.geteuid()}:
            shutil.rmtree(runtime, ignore_errors=True)
        link.unlink()

    def _hold(self, folder: Path) -> int:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._held.append(descriptor)
        return descriptor
