"""One gateway per folder: a lock that the kernel releases when its holder ends, however it ends."""

import fcntl
import os
from pathlib import Path

from app.core.embedded.errors import EmbeddedPostgresError


class Lock:
    """A file that names its holder's process id and is locked for as long as that process keeps it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object has the lock."""
        return self._file is not None

    def acquire(self) -> None:
        """Take the lock at once. Raises `EmbeddedPostgresError` naming the process that has it; OSError when the file cannot be opened."""
        if self._file is not None:
            raise EmbeddedPostgresError(f"{self._path} is already held")
        # Other processes would inherit the lock with the descriptor: Python opens it so that no program started later gets it.
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(file)
            raise EmbeddedPostgresError(
                f"{self._path.parent} is in use by process {holder}: stop it, choose another DATA_DIR or set DATABASE_URL"
            ) from None
        if os.geteuid() == 0:
            # A gateway that is root once must not shut the folder's owner out later.
            owner = self._path.parent.stat()
            os.fchown(file, owner.st_uid, owner.st_gid)
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file

    def release(self) -> None:
        """Give the lock up; nothing happens when it is not held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
