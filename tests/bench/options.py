"""What `python -m tests.bench` is told."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
NODE_SERVERS: Final = ("mercurius-dataloader", "mercurius", "apollo", "yoga", "postgraphile")
LEAST: Final = 5_000
CEILINGS: Final = ("limit", "onestatement")
OTHERS: Final = (*NODE_SERVERS, *CEILINGS)
MEASUREMENTS: Final = ("standard", "computed", "pages", "memory")
"""What the gateway can be measured in beside itself."""

MILLIONS: Final = {
    "events": "send N events (default: 1,000,000) while ClickHouse stops and the worker is killed, count them, and ask about them",
    "reconcile": "compare N rows (default: 1,000,000) of PostgreSQL and ClickHouse with faults that are known",
}

EPILOG: Final = """\
The gateway and the other servers read one database with 10,000 products and 20,000 orders, and are loaded in turn with wrk. That database
is an embedded server's, gone afterwards, or the one that DATABASE_URL names, which keeps the benchmark's rows. Settings of the gateway
may be given in the environment.
"""


@dataclass(frozen=True)
class Options:
    """`seconds` is the length of one run of wrk, `warmup` that of a run before, which does not count.

    With `own`, the gateway is measured beside itself in these respects, its memory over so many `requests`. With `sign_ins`, it is
    measured while so many callers sign in; with `shoppers`, while so many buy; with `events`, while so many are sent, which are then asked
    about; with `reconcile`, so many rows are compared: each in a database of its own. `peers` is a copy of `bench` in which the other
    servers are installed already.
    """

    bench: Path
    peers: Path | None
    servers: tuple[str, ...]
    seconds: int
    rounds: int
    connections: int
    warmup: int
    json: Path | None
    own: tuple[str, ...]
    requests: int
    sign_ins: int
    shoppers: int
    events: int
    reconcile: int
    database_url: str | None

    @property
    def alone(self) -> bool:
        """Whether no other server takes part."""
        return bool(self.own or self.sign_ins or self.shoppers or self.events or self.reconcile)

    @property
    def node_servers(self) -> tuple[str, ...]:
        return tuple(name for name in self.servers if name in NODE_SERVERS)

    @property
    def ceilings(self) -> tuple[str, ...]:
        return tuple(name for name in self.servers if name in CEILINGS)

    @property
    def in_order(self) -> tuple[str, ...]:
        """All servers as they take turns: the first of the others is what the rest is compared with."""
        return (*self.servers[:1], "gateway", *self.servers[1:])


def parse(arguments: Sequence[str]) -> Options:
    """The options in a command line; ends the process with a message where they are wrong."""
    given = _parser().parse_args(arguments)
    database_url = os.environ.get("DATABASE_URL") or None
    return Options(**vars(given), database_url=database_url)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure the gateway beside other servers.", epilog=EPILOG)
    bench = Path(os.environ.get("BENCH_DIR") or REPOSITORY.parent / "shared" / "bench")
    parser.add_argument("--bench", type=_folder, default=bench, help="the comparison: run.py, queries/, peers/ (or set BENCH_DIR)")
    parser.add_argument("--peers", type=_folder, help="a copy of it in which npm has installed the other servers")
    parser.add_argument("--servers", type=_servers, default=OTHERS, help=f"whom to compare with, by commas: {','.join(OTHERS)}; or none")
    parser.add_argument("--seconds", type=_positive, default=5, help="length of one run of load (default: %(default)s)")
    parser.add_argument("--rounds", type=_positive, default=3, help="runs of each server and query (default: %(default)s)")
    parser.add_argument("--connections", type=_positive, default=16, help="connections that carry the load (default: %(default)s)")
    parser.add_argument(
        "--warmup", type=_positive, default=2, help="seconds of load before each query that do not count (default: %(default)s)"
    )
    parser.add_argument(
        "--own",
        type=_measurements,
        default=(),
        metavar="WHAT",
        help=f"measure the gateway beside itself instead: all, or by commas {','.join(MEASUREMENTS)}",
    )
    parser.add_argument(
        "--requests", type=_positive, default=200_000, help="over how many requests memory is measured (default: %(default)s)"
    )
    parser.add_argument(
        "--sign-ins", type=int, default=0, metavar="N", help="measure instead how long a query takes while N callers sign in"
    )
    parser.add_argument(
        "--shoppers", type=int, default=0, metavar="N", help="have N shoppers buy for --seconds instead, and check all books afterwards"
    )
    for name, meaning in MILLIONS.items():
        parser.add_argument(f"--{name}", type=_million, nargs="?", const=1_000_000, default=0, metavar="N", help=meaning)
    parser.add_argument("--json", type=_file, metavar="PATH", help="write everything measured here too")
    return parser


def _folder(text: str) -> Path:
    return Path(text).resolve()


def _file(text: str) -> Path:
    path = Path(text).resolve()
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    return path


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _million(text: str) -> int:
    number = int(text)
    if number < LEAST or number % LEAST:
        raise argparse.ArgumentTypeError(f"must be a multiple of {LEAST:,}")
    return number


def _measurements(text: str) -> tuple[str, ...]:
    names = MEASUREMENTS if text == "all" else tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in MEASUREMENTS:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(MEASUREMENTS)}")
    return names


def _servers(text: str) -> tuple[str, ...]:
    names = () if text == "none" else tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in OTHERS:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(OTHERS)}")
    return names
