"""clairvoyance, a tool that reads schemas out of error messages, learns no name of the production gateway."""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from tests.conftest import fresh_database
from tests.serving import listening, running_app, settings_for

LOCK = Path(__file__).parent / "clairvoyance" / "requirements.lock"
INSTALL_SECONDS = 120
RUN_SECONDS = 120
KNOWN = ("product", "stores", "me", "cart")
UNKNOWN = ("productz", "nodez", "zzzz", "qqqq")
BUCKETS = ("8", "64")
"""How many guesses the tool puts into one document: few enough for every limit, and as many as it likes."""


@pytest.fixture(scope="session")
def clairvoyance(request: pytest.FixtureRequest) -> Path:
    """The folder of the tool's packages, installed by their lock, once per lock, into pytest's cache."""
    cache = request.config.cache
    assert cache is not None
    tag = f"{sys.implementation.cache_tag}-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]}"
    ready = cache.mkdir("clairvoyance") / tag
    if not ready.is_dir():
        making = Path(f"{ready}.{uuid4().hex}")
        install = ("install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--target", str(making))
        subprocess.run([sys.executable, "-m", "pip", *install, "-r", str(LOCK)], timeout=INSTALL_SECONDS, check=True)
        try:
            making.rename(ready)
        except OSError:
            # Another process was quicker.
            shutil.rmtree(making)
    return ready


async def learned(tool: Path, folder: Path, url: str, bucket: str) -> tuple[set[str], str]:
    """The names of fields that the tool finds out, and what it says."""
    words, found = folder / f"words{bucket}", folder / f"found{bucket}"
    words.write_text("\n".join(_mixed(KNOWN, UNKNOWN)))
    options = ("-w", words, "-b", bucket, "-o", found, "-m", "1")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "clairvoyance", *map(str, options), f"{url}/graphql"),
        env={**os.environ, "PYTHONPATH": str(tool)},
        cwd=folder,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), RUN_SECONDS)
    types = json.loads(found.read_text())["data"]["__schema"]["types"] if found.exists() else []
    return {field["name"] for kind in types for field in kind.get("fields") or ()}, said.decode()


def _mixed(known: Sequence[str], unknown: Sequence[str]) -> list[str]:
    return [word for pair in zip(known, unknown, strict=True) for word in pair]


async def test_production_gives_no_name_away(clairvoyance: Path, postgres: str, migrated: str, tmp_path: Path) -> None:
    strong = {"argon2_memory_kib": 19_456, "argon2_time_cost": 2}
    async with (
        fresh_database(postgres, migrated) as dsn,
        running_app(settings_for(dsn, environment="production", **strong)) as app,
        listening(app) as url,
    ):
        for bucket in BUCKETS:
            names, said = await learned(clairvoyance, tmp_path, url, bucket)
            assert names & set(KNOWN) == set(), said
            assert "Unable to get TypeRef" in said


async def test_the_tool_reads_what_development_says(clairvoyance: Path, address: str, tmp_path: Path) -> None:
    """Or its silence about production would mean nothing."""
    names, said = await learned(clairvoyance, tmp_path, address, BUCKETS[0])
    assert names >= {"product", "stores", "me", "cart", "products", "nodes"}, said
