"""Where files are kept that were made: each has a name such as `reports/<id>.csv`, and gets it once it is whole."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Stored:
    """A file that is kept elsewhere: its size in bytes, and what it holds, as it comes."""

    size: int
    chunks: AsyncIterator[bytes]


class Storage(Protocol):
    """Keeps files. `unfinished` is a folder of this host for what is still being written. Raises `OSError`."""

    @property
    def unfinished(self) -> Path: ...

    async def keep(self, path: Path, name: str) -> None:
        """Take a file that is whole, under a name; in place of what had it."""

    async def find(self, name: str) -> Path | Stored | None:
        """The file of this name, if there is one."""

    async def remove(self, name: str) -> None:
        """Remove a file, if there is one."""

    async def remove_all(self, folder: str) -> None:
        """Remove all files whose names begin with the folder's."""


class LocalStorage:
    """A folder of this host, for us alone."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.unfinished = root / "unfinished"

    async def keep(self, path: Path, name: str) -> None:
        await asyncio.to_thread(self._keep, path, self._root / name)

    async def find(self, name: str) -> Path | None:
        path = self._root / name
        return path if await asyncio.to_thread(path.is_file) else None

    async def remove(self, name: str) -> None:
        await asyncio.to_thread((self._root / name).unlink, missing_ok=True)

    async def remove_all(self, folder: str) -> None:
        await asyncio.to_thread(self._remove_all, self._root / folder)

    def _keep(self, path: Path, place: Path) -> None:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.replace(place)

    def _remove_all(self, folder: Path) -> None:
        if folder.is_dir():
            for path in folder.iterdir():
                path.unlink(missing_ok=True)
            folder.rmdir()


def remove_left(folder: Path, pattern: str, seconds: float = 0) -> None:
    """Remove what was left unfinished: files of this pattern that nobody has written to for some seconds."""
    for path in folder.glob(pattern):
        if path.stat().st_mtime <= time.time() - seconds:
            path.unlink(missing_ok=True)
