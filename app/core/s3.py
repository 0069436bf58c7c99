"""Files in a bucket of S3, or of a storage that speaks its protocol (MinIO, Ceph, R2), by obstore.

They are sent in parts, a few of them in memory at a time, and are there when the last has arrived or not at all. What parts a broken upload
has left nobody can see; a lifecycle rule of the bucket removes them.
"""

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from app.core.storage import Stored

PART_BYTES: Final = 8 * 1024 * 1024
PARTS_AT_ONCE: Final = 2
CHUNK_BYTES: Final = 1024 * 1024
CONNECT_SECONDS: Final = 3
REQUEST_SECONDS: Final = 20
RETRIES: Final = 3


class StorageFailed(OSError):
    """The storage was not reached, or refused; trying again may help. What it said is in the chain."""


class S3Storage:
    """A bucket at `url`, such as `s3://bucket/folder?endpoint=https://minio.example.com&region=eu-central-1`.

    `unfinished` is a folder of this host. Without keys, those of the environment or of the machine's role are taken.
    """

    def __init__(self, url: str, unfinished: Path, access_key_id: str | None = None, secret_access_key: str | None = None) -> None:
        self.unfinished = unfinished
        place = urlsplit(url)
        asked = {name: values[-1] for name, values in parse_qs(place.query).items()}
        keys = {"access_key_id": access_key_id, "secret_access_key": secret_access_key}
        given: dict[str, Any] = {**asked, **{name: key for name, key in keys.items() if key is not None}}
        self._store = S3Store(
            place.netloc,
            prefix=place.path.strip("/") or None,
            client_options={
                "allow_http": asked.get("endpoint", "").startswith("http://"),
                "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
                "timeout": timedelta(seconds=REQUEST_SECONDS),
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=REQUEST_SECONDS)},
            **given,
        )

    async def keep(self, path: Path, name: str) -> None:
        try:
            await obstore.put_async(self._store, name, path, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
        except BaseError as error:
            raise StorageFailed("the storage did not take a file") from error

    async def find(self, name: str) -> Stored | None:
        try:
            found = await obstore.get_async(self._store, name)
        except FileNotFoundError:
            return None
        except BaseError as error:
            raise StorageFailed("the storage did not give a file") from error
        return Stored(found.meta["size"], _chunks(found))

    async def remove(self, name: str) -> None:
        try:
            with suppress(FileNotFoundError):
                await obstore.delete_async(self._store, name)
        except BaseError as error:
            raise StorageFailed("the storage did not remove a file") from error

    async def remove_all(self, folder: str) -> None:
        try:
            async for listed in obstore.list(self._store, folder):
                await obstore.delete_async(self._store, [item["path"] for item in listed])
        except BaseError as error:
            raise StorageFailed("the storage did not remove a folder") from error


async def _chunks(found: Any) -> AsyncIterator[bytes]:
    try:
        async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
            yield bytes(chunk)
    except BaseError as error:
        raise StorageFailed("the storage broke off") from error
