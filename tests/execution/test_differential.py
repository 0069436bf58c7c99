"""The proof of compiled execution: documents at random, executed both ways on the same rows, must give the same answers.

`DIFFERENTIAL_DOCUMENTS` sets how many (5,000 unless set), `DIFFERENTIAL_SEED` which. A failure prints the document's own seed:
`DIFFERENTIAL_DOCUMENTS=1 DIFFERENTIAL_SEED=<seed>` runs it alone, over the rows that go with that seed.
"""

import gc
import os
import sys
from itertools import count
from typing import Any

import orjson
import pytest
from graphql import parse, validate

from tests.execution.conftest import SEED, Both
from tests.execution.documents import Generated, Writer

DOCUMENTS = int(os.environ.get("DIFFERENTIAL_DOCUMENTS", "5000"))
CHUNKS = min(10, DOCUMENTS)
LEAST_COMPILED = 0.95


@pytest.mark.parametrize("chunk", range(CHUNKS))
async def test_both_executors_give_the_same_answers(both: Both, chunk: int, capsys: pytest.CaptureFixture[str]) -> None:
    before = both.refusals()
    asked = compiled = 0
    for seed in range(SEED + chunk, SEED + DOCUMENTS, CHUNKS):
        name = list(both.shop.viewers)[seed % len(both.shop.viewers)]
        generated = _valid(both, name, seed)
        answered = await _compare(both, generated, name, seed)
        if not generated.faulty:
            asked, compiled = asked + 1, compiled + answered
    now = {kind: count - before.get(kind, 0) for kind, count in both.refusals().items()}
    with capsys.disabled():
        sys.stdout.write(f"\ndifferential {chunk}: compiled {compiled} of {asked} documents without faults; all: {now}\n")
    assert not now.get("standard exception")
    assert compiled >= asked * LEAST_COMPILED


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
async def test_what_goes_wrong_is_left_to_resolvers(bazaar: Both) -> None:
    """Missing rows, nulls, raising resolvers: a compiled answer is one that has no errors, and is the same.

    Where a resolver raises beside others that have yet to start, graphql-core drops those; they are collected here, not in another test.
    """
    failed = 0
    for seed in range(SEED, SEED + max(DOCUMENTS // 5, 1)):
        name = list(bazaar.shop.viewers)[seed % len(bazaar.shop.viewers)]
        generated = _valid(bazaar, name, seed)
        if not await _compare(bazaar, generated, name, seed):
            expected = await bazaar.standard(parse(generated.text), generated.variables, bazaar.shop.viewers[name])
            failed += expected.errors is not None
    gc.collect()
    modes = bazaar.refusals()
    if DOCUMENTS >= 1000:
        assert failed
        assert {"compiled", "filled", "standard anomaly", "standard unknown_field", "standard null"} <= modes.keys()
    sys.stdout.write(f"\nmuch goes wrong: {modes}, of which {failed} have errors\n")


def _valid(both: Both, viewer: str, seed: int) -> Generated:
    """What a seed writes: the first of its documents that is valid, since fields of different types may clash in one place."""
    for attempt in count():
        generated = Writer(both.schema, both.declarations, both.pools, both.shop.viewers[viewer], f"{seed}/{attempt}").write()
        if not validate(both.schema, parse(generated.text)):
            return generated
    raise AssertionError


async def _compare(both: Both, generated: Generated, viewer: str, seed: int) -> bool:
    document = parse(generated.text)
    data = await both.compile(generated.text, document, generated.variables, both.shop.viewers[viewer])
    if data is None:
        return False
    expected = await both.standard(document, generated.variables, both.shop.viewers[viewer])
    shown = f"seed {seed}, {viewer}: {generated.text}\n{generated.variables}"
    causes = [_chain(error.original_error) for error in expected.errors or ()]
    assert expected.errors is None, f"the standard executor has errors: {expected.errors} {causes}\n{shown}"
    assert _text(data) == _text(expected.data), f"{shown}\n{_text(data)!r}\nis not\n{_text(expected.data)!r}"
    return True


def _text(data: Any) -> bytes:
    """As JSON: fields in their order."""
    return orjson.dumps(data)


def _chain(error: BaseException | None) -> list[str]:
    """An error and what caused it: repositories raise with the original chained."""
    return [repr(error), repr(error.__cause__)] if error else []
