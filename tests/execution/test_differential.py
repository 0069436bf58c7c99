"""The proof of compiled execution: documents at random, executed both ways on the same rows, must give the same answers.

`DIFFERENTIAL_DOCUMENTS` sets how many (5,000 unless set), `DIFFERENTIAL_SEED` which. A failure prints the document's own seed:
`DIFFERENTIAL_DOCUMENTS=1 DIFFERENTIAL_SEED=<seed>` runs it alone, over the rows that go with that seed.
"""

import gc
import os
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, NamedTuple

import orjson
import pytest
from graphql import DocumentNode, OverlappingFieldsCanBeMergedRule, parse, validate

from tests.execution.conftest import SEED, Both
from tests.execution.documents import Generated, Writer

DOCUMENTS = int(os.environ.get("DIFFERENTIAL_DOCUMENTS", "5000"))
FAULTS = max(DOCUMENTS // 5, 1)
LEAST_COMPILED = 0.95
CHECKED = 20
"""One document in so many is held against every rule of validation; the others only against the one that their writer cannot keep."""

Record = Callable[[str, object], None]


class Asked(NamedTuple):
    """A document as one viewer asks it."""

    generated: Generated
    document: DocumentNode
    viewer: str
    seed: int

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.viewer}: {self.generated.text}\n{self.generated.variables}"


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("chunk", range(min(10, DOCUMENTS)))
async def test_both_executors_give_the_same_answers(both: Both, chunk: int, record_property: Record) -> None:
    before = both.refusals()
    asked = compiled = 0
    for one in _asked(both, range(SEED + chunk, SEED + DOCUMENTS, 10)):
        answered = await _compare(both, one)
        if not one.generated.faulty:
            asked, compiled = asked + 1, compiled + answered
    now = {kind: count - before.get(kind, 0) for kind, count in both.refusals().items()}
    record_property("counts", ["differential", {"documents without faults": asked, "of these compiled": compiled, **now}])
    assert not now.get("standard exception")
    assert compiled >= asked * LEAST_COMPILED


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("chunk", range(min(2, FAULTS)))
async def test_what_goes_wrong_is_left_to_resolvers(bazaar: Both, chunk: int, record_property: Record) -> None:
    """Missing rows, nulls, raising resolvers: a compiled answer is one that has no errors, and is the same.

    Where a resolver raises beside others that have yet to start, graphql-core drops those; they are collected here, not in another test.
    """
    before = bazaar.refusals()
    failed = 0
    for one in _asked(bazaar, range(SEED + chunk, SEED + FAULTS, 2)):
        if not await _compare(bazaar, one):
            expected = await bazaar.standard(one.document, one.generated.variables, bazaar.shop.viewers[one.viewer])
            failed += expected.errors is not None
    gc.collect()
    now = {kind: count - before.get(kind, 0) for kind, count in bazaar.refusals().items()}
    record_property("counts", ["much goes wrong", {"documents with errors": failed, **now}])
    if FAULTS >= 1000:
        assert failed
        assert {"compiled", "filled", "standard anomaly", "standard unknown_field", "standard null"} <= {kind for kind in now if now[kind]}


def _asked(both: Both, seeds: range) -> Iterator[Asked]:
    for seed in seeds:
        viewer = list(both.shop.viewers)[seed % len(both.shop.viewers)]
        yield _valid(both, viewer, seed)


def _valid(both: Both, viewer: str, seed: int) -> Asked:
    """What a seed writes: the first of its documents that is valid, since fields of different types may clash in one place."""
    for attempt in count():
        generated = Writer(both.schema, both.declarations, both.pools, both.shop.viewers[viewer], f"{seed}/{attempt}").write()
        document = parse(generated.text)
        if not validate(both.schema, document, [OverlappingFieldsCanBeMergedRule]):
            assert seed % CHECKED or not validate(both.schema, document), generated.text
            return Asked(generated, document, viewer, seed)
    raise AssertionError


async def _compare(both: Both, asked: Asked) -> bool:
    """Whether the document was compiled; it must have given the same answer then."""
    viewer, variables = both.shop.viewers[asked.viewer], asked.generated.variables
    data = await both.compile(asked.generated.text, asked.document, variables, viewer)
    if data is None:
        return False
    expected = await both.standard(asked.document, variables, viewer)
    causes = [_chain(error.original_error) for error in expected.errors or ()]
    assert expected.errors is None, f"the standard executor has errors: {expected.errors} {causes}\n{asked}"
    assert _text(data) == _text(expected.data), f"{asked}\n{_text(data)!r}\nis not\n{_text(expected.data)!r}"
    return True


def _text(data: Any) -> bytes:
    """As JSON: fields in their order."""
    return orjson.dumps(data)


def _chain(error: BaseException | None) -> list[str]:
    """An error and what caused it: repositories raise with the original chained."""
    return [repr(error), repr(error.__cause__)] if error else []
