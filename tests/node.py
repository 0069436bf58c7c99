"""Programs of ours for Node: installed by their lock, once per version of their sources, into pytest's cache."""

import asyncio
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

INSTALL_SECONDS = 120
RUN_SECONDS = 60
NPM, NODE = shutil.which("npm"), shutil.which("node")


def installed(folder: Path, config: pytest.Config) -> Path:
    """A copy of the folder with its packages. Skips the test where Node or npm is missing."""
    if NPM is None or NODE is None:
        pytest.skip("needs Node and npm")
    assert config.cache is not None
    sources = b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file() and path.suffix != ".py")
    ready = config.cache.mkdir(folder.name) / hashlib.sha256(sources).hexdigest()[:16]
    if not ready.is_dir():
        making = Path(shutil.copytree(folder, f"{ready}.{uuid4().hex}", ignore=shutil.ignore_patterns("node_modules")))
        subprocess.run([NPM, "ci", "--ignore-scripts", "--loglevel=error"], cwd=making, timeout=INSTALL_SECONDS, check=True)
        _publish(making, ready)
    return ready


def _publish(making: Path, ready: Path) -> None:
    """Two processes may have installed the same; the first one's copy is as good."""
    try:
        making.rename(ready)
    except OSError:
        shutil.rmtree(making)


async def run(folder: Path, *command: str) -> Any:
    """What a program of the folder prints, read as JSON."""
    assert NODE is not None
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(NODE, *command, cwd=folder, stdout=pipe, stderr=pipe)
    output, complaints = await asyncio.wait_for(process.communicate(), RUN_SECONDS)
    assert process.returncode == 0, complaints.decode()
    return json.loads(output)
