"""The audits of graphql-http, the reference implementation of GraphQL over HTTP, against a listening gateway."""

import asyncio
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

AUDITS = Path(__file__).parent / "audits"
INSTALL_SECONDS = 120
AUDIT_SECONDS = 60
NPM, NODE = shutil.which("npm"), shutil.which("node")


@pytest.fixture
def audits(request: pytest.FixtureRequest) -> Path:
    """A folder with the audits installed, kept in pytest's cache for the next run."""
    if NPM is None or NODE is None:
        pytest.skip("the audits need Node and npm")
    assert request.config.cache is not None
    sources = b"".join(path.read_bytes() for path in sorted(AUDITS.iterdir()) if path.is_file())
    installed = request.config.cache.mkdir("graphql-http") / hashlib.sha256(sources).hexdigest()[:16]
    if not installed.is_dir():
        making = Path(shutil.copytree(AUDITS, f"{installed}.{uuid4().hex}", ignore=shutil.ignore_patterns("node_modules")))
        subprocess.run([NPM, "ci", "--ignore-scripts", "--loglevel=error"], cwd=making, timeout=INSTALL_SECONDS, check=True)
        making.rename(installed)
    return installed


async def test_gateway_passes_every_audit(audits: Path, address: str, record_property: Callable[[str, object], None]) -> None:
    assert NODE is not None
    process = await asyncio.create_subprocess_exec(
        NODE, "audits.js", f"{address}/graphql", cwd=audits, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, complaints = await asyncio.wait_for(process.communicate(), AUDIT_SECONDS)
    assert process.returncode == 0, complaints.decode()
    found: list[dict[str, Any]] = json.loads(output)
    passed = [audit for audit in found if audit["status"] == "ok"]
    record_property("figures", f"GraphQL over HTTP: {len(passed)} of {len(found)} audits passed")
    assert len(found) >= 61
    assert [audit for audit in found if audit["status"] != "ok"] == []
