"""Garbage collection as the gateway tunes it: what is there when the tests begin stays, and no collection need look at it again.

A plugin of its own, since `conftest.py` imports most of what there is. Collections took a fifth of the tests' time.
"""

import gc

import pytest

gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)
    gc.enable()
