"""The audits of graphql-http, the reference implementation of GraphQL over HTTP, against a listening gateway."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import node

AUDITS = Path(__file__).parent / "audits"


@pytest.fixture
def audits(request: pytest.FixtureRequest) -> Path:
    return node.installed(AUDITS, request.config)


async def test_gateway_passes_every_audit(audits: Path, address: str, record_property: Callable[[str, object], None]) -> None:
    """Those of what a server MUST and SHOULD do, and also of what it MAY."""
    found = await node.run(audits, "audits.js", f"{address}/graphql")
    passed = [audit for audit in found if audit["status"] == "ok"]
    record_property("figures", f"GraphQL over HTTP: {len(passed)} of {len(found)} audits passed")
    assert len(found) >= 61
    assert [audit for audit in found if audit["status"] != "ok"] == []
