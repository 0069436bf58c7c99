"""The benchmark's own parts, as far as they can be tested in a moment."""

import asyncio
import json
import os
import shutil
import sys
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.core.comparison import Discrepancy
from tests.bench.__main__ import command
from tests.bench.events import Traffic
from tests.bench.gateway import postgres_environment, sign_in
from tests.bench.load import load, lua_text, read, write_script
from tests.bench.machine import machine
from tests.bench.options import MEASUREMENTS, OTHERS, Options, parse
from tests.bench.others import others, require_tools, workspace
from tests.bench.process import BenchError, finished, free_ports, running
from tests.bench.reconciliation import FAULTS
from tests.bench.sign_ins import Run, Runs
from tests.bench.tables import compared, table
from tests.serving import listening

PYTHON = sys.executable


@pytest.fixture
def comparison(tmp_path: Path) -> Path:
    """A folder like the comparison's, read-only as a shared one may be."""
    folder = tmp_path / "comparison"
    (folder / "peers").mkdir(parents=True)
    (folder / "run.py").write_text("")
    (folder / "run.py").chmod(0o444)
    return folder


def options(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Options:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return parse(arguments)


def test_without_options_everybody_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    given = options(monkeypatch)

    assert given.servers == OTHERS
    assert given.in_order[:2] == ("mercurius-dataloader", "gateway")
    assert (given.seconds, given.rounds, given.connections, given.warmup) == (5, 3, 16, 2)
    assert given.database_url is None


def test_options_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://shop@db/shop")
    given = parse(["--servers", "limit, apollo,limit", "--seconds", "2", "--rounds", "1", "--json", f"{tmp_path}/out.json"])

    assert given.in_order == ("limit", "gateway", "apollo")
    assert (given.node_servers, given.ceilings) == (("apollo",), ("limit",))
    assert given.json == tmp_path / "out.json"
    assert given.database_url == "postgresql://shop@db/shop"
    assert parse(["--servers", "none"]).in_order == ("gateway",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--servers", "apollo,hasura"], "'hasura' is not one of mercurius-dataloader"),
        (["--seconds", "0"], "--seconds: must be at least 1"),
        (["--rounds", "many"], "--rounds: invalid"),
        (["--json", "nowhere/out.json"], "there is no folder"),
        (["--events", "1234"], "--events: must be a multiple of 5,000"),
        (["--own", "speed"], "'speed' is not one of standard, computed, pages, memory"),
    ],
)
def test_wrong_options_are_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(arguments)
    assert message in capsys.readouterr().err


def test_the_comparison_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=f"no run.py in {tmp_path}.*--bench or BENCH_DIR"):
        require_tools(options(monkeypatch, "--bench", str(tmp_path)))

    monkeypatch.setenv("BENCH_DIR", str(tmp_path))
    assert options(monkeypatch).bench == tmp_path


def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, comparison: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match="wrk, which makes the load, is not installed"):
        require_tools(options(monkeypatch, "--bench", str(comparison)))

    (tmp_path / "wrk").touch(mode=0o755)
    with pytest.raises(BenchError, match="node is not installed, and apollo need it"):
        require_tools(options(monkeypatch, "--bench", str(comparison), "--servers", "apollo,limit"))
    require_tools(options(monkeypatch, "--bench", str(comparison), "--servers", "limit"))


def test_millions_are_meant_where_no_number_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    given = options(monkeypatch, "--events", "--reconcile", "10000")
    assert (given.events, given.reconcile, given.alone) == (1_000_000, 10_000, True)
    assert options(monkeypatch).alone is False


def test_events_are_told_by_their_numbers() -> None:
    """Requests share no event, and visits go on in order."""
    traffic = Traffic(datetime(2026, 1, 31, tzinfo=UTC))
    events = [event for number in range(3) for event in traffic.request(number)["events"]]
    assert [event["clientEventId"] for event in events] == [str(number) for number in range(1_500)]
    assert len({event["sessionId"] for event in events}) == 150
    assert traffic.request(1) == traffic.request(1)
    first = [event for event in events if event["sessionId"] == traffic.visit(0)]
    assert first == sorted(first, key=lambda event: str(event["timestamp"]))
    assert all("2026-01-01" < event["timestamp"] < "2026-01-31" for event in events)


def test_two_hundred_faults_are_seeded_and_as_many_kinds_as_there_are_are_among_them() -> None:
    assert sum(fault.rows for fault in FAULTS if fault.kind) == 200
    assert {fault.kind for fault in FAULTS} == {None, *Discrepancy}


async def test_the_comparison_is_copied_to_a_place_where_it_may_change(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, comparison: Path
) -> None:
    (tmp_path / "scratch").mkdir()
    given = options(monkeypatch, "--bench", str(comparison), "--servers", "limit")
    folder = await workspace(given, tmp_path / "scratch")

    assert folder == tmp_path / "scratch" / "bench"
    assert (folder / "run.py").stat().st_mode & 0o200


async def test_a_folder_without_installed_servers_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, comparison: Path) -> None:
    given = options(monkeypatch, "--peers", str(comparison))
    with pytest.raises(BenchError, match=r"no copy of the comparison with peers/node_modules"):
        await workspace(given, tmp_path)


def test_the_first_of_the_others_is_the_reference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = options(monkeypatch, "--servers", "apollo,postgraphile", "--rounds", "2", "--json", str(tmp_path / "out.json"))
    urls = {name: f"http://{name}/graphql" for name in given.in_order}

    called = command(given, urls, "secret", tmp_path / "out.json")

    servers = [value for name, value in pairwise(called) if name == "--server"]
    assert servers == [
        "apollo=http://apollo/graphql",
        "gateway=http://gateway/graphql,gateway",
        "postgraphile=http://postgraphile/graphql,peers/queries",
    ]
    assert called[called.index("--token") + 1] == "gateway=secret"
    assert called[called.index("--rounds") + 1] == "2"
    assert called[called.index("--warmup") + 1] == "2"
    assert called[-2:] == ["--json", str(tmp_path / "out.json")]


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        (
            "postgresql://shop:s%40fe@db.example.com:5433/shop",
            {"PGHOST": "db.example.com", "PGPORT": "5433", "PGUSER": "shop", "PGPASSWORD": "s@fe", "PGDATABASE": "shop"},
        ),
        (
            "postgresql://neurotracker@/neurotracker?host=%2Fvar%2Frun%2Fshop&port=5432",
            {"PGHOST": "/var/run/shop", "PGPORT": "5432", "PGUSER": "neurotracker", "PGDATABASE": "neurotracker"},
        ),
    ],
)
def test_the_database_is_told_in_the_variables_of_libpq(dsn: str, expected: dict[str, str]) -> None:
    assert postgres_environment(dsn) == expected


async def connects(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def test_a_server_runs_as_long_as_the_block_and_its_children_end_with_it(tmp_path: Path) -> None:
    port = free_ports()
    serve = f"[sys.executable, '-m', 'http.server', '{port}', '--bind', '127.0.0.1']"
    script = f"import subprocess, sys; subprocess.Popen({serve}).wait()"

    async with running("files", [PYTHON, "-c", script], {}, tmp_path, tmp_path / "log", port):
        assert await connects(port)
        assert free_ports() != port

    for _ in range(500):
        if not await connects(port):
            return
        await asyncio.sleep(0.01)
    pytest.fail("the child still listens")


async def test_a_server_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"(?s)shop ended with 1:.*no such table"):
        async with running("shop", [PYTHON, "-c", "raise SystemExit('no such table')"], {}, tmp_path, tmp_path / "log", free_ports()):
            pass


async def test_a_program_gets_its_environment_and_must_succeed_in_time(tmp_path: Path) -> None:
    await finished(
        [PYTHON, "-c", "import os; open('said', 'w').write(os.environ['SHOP'] + os.environ['PATH'])"], {"SHOP": "tea:"}, tmp_path, 20
    )
    assert (tmp_path / "said").read_text() == f"tea:{os.environ['PATH']}"

    with pytest.raises(BenchError, match="ended with 3"):
        await finished([PYTHON, "-c", "raise SystemExit(3)"], {}, tmp_path, 20)
    with pytest.raises(BenchError, match=r"did not end within 0\.3 seconds"):
        await finished([PYTHON, "-c", "import time; time.sleep(60)"], {}, tmp_path, 0.3)


async def test_servers_that_failed_to_start_are_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, comparison: Path) -> None:
    script = comparison / "peers.sh"
    script.write_text('#!/bin/sh\necho "$1 $PORT_BASE $PGHOST" >> calls\n[ "$1" = stop ]\n')
    script.chmod(0o755)

    with pytest.raises(BenchError, match="start ended with 1"):
        async with others(options(monkeypatch, "--servers", "apollo"), comparison, tmp_path, {"PGHOST": "db"}):
            pass
    calls = [line.split() for line in (comparison / "calls").read_text().splitlines()]
    assert [(verb, host) for verb, _, host in calls] == [("start", "db"), ("stop", "db")]
    assert len({port for _, port, _ in calls}) == 1


async def test_a_refused_sign_in_shows_the_answer(tmp_path: Path) -> None:
    port = free_ports()
    refusal = json.dumps({"data": {"signIn": {"session": None, "userErrors": [{"message": "wrong email or password"}]}}})
    script = f"""
from http.server import BaseHTTPRequestHandler, HTTPServer
class Refusal(BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write({refusal.encode()!r})
HTTPServer(("127.0.0.1", {port}), Refusal).serve_forever()"""

    async with running("refusal", [PYTHON, "-c", script], {}, tmp_path, tmp_path / "log", port):
        with pytest.raises(BenchError, match=r"cannot sign in: 200 .*wrong email or password"):
            await sign_in(f"http://127.0.0.1:{port}/graphql")


WRK = """Running 3s test @ http://127.0.0.1:9301/graphql
  1 threads and 4 connections
  Latency Distribution
     50%    1.60ms
     99%   {p99}
  5590 requests in 3.00s, 2.94MB read
{more}Requests/sec:   1863.11
"""


@pytest.mark.parametrize(("p99", "milliseconds"), [("950.00us", 0.95), ("34.70ms", 34.7), ("1.24s ", 1240.0)])
def test_the_report_of_the_load_is_read_in_milliseconds(p99: str, milliseconds: float) -> None:
    run = read(WRK.format(p99=p99, more=""))
    assert (round(run.p99, 6), run.rate, run.requests) == (milliseconds, 1863.11, 5590)


def test_errors_under_load_are_no_measurement() -> None:
    for report in (WRK.format(p99="1.00ms", more="  Non-2xx or 3xx responses: 7\n"), "wrk: unable to connect"):
        with pytest.raises(BenchError, match="wrk did not measure"):
            read(report)


def test_the_ratio_is_that_of_the_medians() -> None:
    runs = Runs([Run(10, 1), Run(90, 1), Run(11, 1)], [Run(22, 1), Run(33, 1), Run(500, 1)])
    assert runs.ratio == 3


def test_a_body_is_written_as_lua_reads_it() -> None:
    assert lua_text('{"é\n'.encode()) == '"\\123\\034\\195\\169\\010"'


def test_the_gateway_can_be_measured_beside_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_DIR", str(tmp_path))
    (tmp_path / "wrk").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert options(monkeypatch, "--own", "all").own == MEASUREMENTS
    given = options(monkeypatch, "--own", "memory, pages", "--requests", "1000")
    assert (given.own, given.requests, given.alone) == (("memory", "pages"), 1000, True)
    require_tools(given)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
async def test_bodies_are_sent_in_turn_by_whoever_is_signed_in(tmp_path: Path) -> None:
    heard: set[tuple[str | None, bytes]] = set()

    async def echo(request: Request) -> Response:
        heard.add((request.headers.get("authorization"), await request.body()))
        return Response("{}")

    bodies = [b'{"query": "one"}', '{"query": "zwölf"}'.encode(), b'{"query": "three"}']
    async with listening(Starlette(routes=[Route("/graphql", echo, methods=["POST"])])) as url:
        found = await load(f"{url}/graphql", write_script(tmp_path / "script.lua", bodies, "secret"), 1, 1)

    assert heard == {("Bearer secret", body) for body in bodies}
    assert found.requests >= len(bodies)


def test_a_comparison_is_told_as_markdown() -> None:
    report = {
        "reference": "apollo",
        "rounds": 3,
        "seconds": 5,
        "connections": 16,
        "servers": {"apollo": "", "gateway": ""},
        "queries": {
            "catalog": {"servers": {"apollo": {"rps": 1234.5, "ratio": 1.0}, "gateway": {"rps": 4321, "ratio": 3.456}}},
            "orders": {"servers": {"gateway": {"rps": 99.5, "ratio": None}}},
        },
    }
    assert compared(report) == [
        "Requests per second, and the ratio to apollo: medians of 3 interleaved rounds of 5 s, 16 connections, one process each.",
        "",
        "| server | catalog | orders |",
        "| --- | ---: | ---: |",
        "| apollo | 1,234 (1.00) | - |",
        "| gateway | 4,321 (3.46) | 100 |",
    ]
    assert table(["a", "b"], []) == ["| a | b |", "| --- | ---: |"]


def test_the_machine_is_described_in_one_line() -> None:
    said = machine("PostgreSQL 18")
    assert said.startswith("Measured on ")
    assert "\n" not in said
    assert f"{os.cpu_count()} cores" in said
    assert "PostgreSQL 18" in said
