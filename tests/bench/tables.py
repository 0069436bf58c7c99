"""What was measured, as Markdown that a README can take."""

from collections.abc import Mapping, Sequence
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, all columns but the first to the right."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---", *("---:" for _ in head[1:])], *rows)]


def compared(report: Mapping[str, Any]) -> list[str]:
    """The lines about a comparison: requests per second of each server and query, and the ratio to the first server's."""
    queries, reference = report["queries"], report["reference"]
    rows = [[name, *(_cell(query["servers"].get(name)) for query in queries.values())] for name in report["servers"]]
    rounds, seconds, connections = (report[name] for name in ("rounds", "seconds", "connections"))
    method = f"medians of {rounds} interleaved rounds of {seconds} s, {connections} connections, one process each"
    return [f"Requests per second, and the ratio to {reference}: {method}.", "", *table(["server", *queries], rows)]


def _cell(measured: Mapping[str, Any] | None) -> str:
    if measured is None:
        return "-"
    return f"{measured['rps']:,.0f}" + (f" ({measured['ratio']:.2f})" if measured["ratio"] is not None else "")
