"""Where files are kept: a folder, or a bucket over real S3 requests, also one that fails in the midst of an upload."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from app.core.s3 import PART_BYTES, S3Storage, StorageFailed
from app.core.storage import LocalStorage, Storage
from tests.s3_server import KEY_ID, SECRET, Bucket, s3_server

CONTENT = Random(1).randbytes(2 * PART_BYTES + 1234)


@pytest.fixture
async def bucket() -> AsyncIterator[Bucket]:
    async with s3_server() as bucket:
        yield bucket


def reached(bucket: Bucket, folder: Path, secret: str = SECRET) -> S3Storage:
    return S3Storage(bucket.place(), folder / "spool", KEY_ID, secret)


async def content(storage: Storage, name: str) -> bytes | None:
    found = await storage.find(name)
    if found is None:
        return None
    if isinstance(found, Path):
        return found.read_bytes()
    whole = b"".join([chunk async for chunk in found.chunks])
    assert found.size == len(whole)
    return whole


def written(folder: Path, content: bytes = CONTENT) -> Path:
    path = folder / "unfinished.part"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", ["local", "s3"])
async def test_files_are_kept_found_and_removed(bucket: Bucket, tmp_path: Path, kind: str) -> None:
    storage: Storage = LocalStorage(tmp_path / "files") if kind == "local" else reached(bucket, tmp_path)
    assert await content(storage, "exports/ada/1.zip") is None
    await storage.keep(written(tmp_path, b"first"), "exports/ada/1.zip")
    await storage.keep(written(tmp_path), "exports/ada/1.zip")
    for name in ("exports/ada/2.zip", "exports/bob/1.zip", "reports/1.csv"):
        await storage.keep(written(tmp_path, name.encode()), name)
    assert await content(storage, "exports/ada/1.zip") == CONTENT
    for _ in range(2):
        await storage.remove("reports/1.csv")
        await storage.remove_all("exports/ada")
    names = ("exports/ada/1.zip", "exports/ada/2.zip", "reports/1.csv")
    assert [await content(storage, name) for name in names] == [None] * 3
    assert await content(storage, "exports/bob/1.zip") == b"exports/bob/1.zip"
    if kind == "s3":
        assert list(bucket.objects) == ["shop/exports/bob/1.zip"]
        assert (bucket.parts, bucket.largest) == (3, PART_BYTES), "large files go in parts"


async def test_an_upload_that_fails_half_way_leaves_no_file(bucket: Bucket, tmp_path: Path) -> None:
    storage, bucket.broken_part = reached(bucket, tmp_path), 2
    with pytest.raises(StorageFailed):
        await storage.keep(written(tmp_path), "reports/1.csv")
    assert bucket.parts > 2, "it was tried again"
    assert bucket.objects == {}
    assert await storage.find("reports/1.csv") is None
    bucket.broken_part = None
    await storage.keep(written(tmp_path), "reports/1.csv")
    assert await content(storage, "reports/1.csv") == CONTENT


async def test_lost_connections_are_made_good(bucket: Bucket, tmp_path: Path) -> None:
    storage, bucket.dropped = reached(bucket, tmp_path), 2
    await storage.keep(written(tmp_path), "reports/1.csv")
    bucket.dropped = 1
    assert await content(storage, "reports/1.csv") == CONTENT


async def test_a_storage_that_refuses_or_is_away_says_so_and_no_secret(bucket: Bucket, tmp_path: Path) -> None:
    away = S3Storage("s3://files?endpoint=http://127.0.0.1:9&region=eu-central-1", tmp_path, KEY_ID, SECRET)
    for storage in (reached(bucket, tmp_path, "another-secret"), away):
        for work in (storage.keep(written(tmp_path), "x"), storage.find("x"), storage.remove("x"), storage.remove_all("x")):
            with pytest.raises(StorageFailed) as failed:
                await work
            assert "secret" not in f"{failed.value} {failed.value.__cause__}"
    assert bucket.objects == {}
