"""Texts that are given away: known again as they were, for their purpose and their time."""

from datetime import UTC, datetime, timedelta

import pytest

from app.core.signing import LONGEST, Seals

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SEALS = Seals(["k" * 32])


def test_a_subject_comes_back_until_it_expires() -> None:
    text = SEALS.seal("cart", "17", NOW + timedelta(days=1))
    assert text.isascii()
    assert "/" not in text
    assert SEALS.open("cart", text, NOW) == "17"
    assert SEALS.open("cart", text, NOW + timedelta(days=1)) is None
    assert SEALS.open("cart", SEALS.seal("cart", "17"), NOW + timedelta(days=9999)) == "17"


def test_it_is_good_for_one_purpose_and_by_one_key() -> None:
    text = SEALS.seal("cart", "17")
    assert SEALS.open("mail", text, NOW) is None
    assert Seals(["x" * 32]).open("cart", text, NOW) is None
    assert Seals(["x" * 32, "k" * 32]).open("cart", text, NOW) == "17"
    assert SEALS.open("cart", Seals(["x" * 32, "k" * 32]).seal("cart", "17"), NOW) is None


@pytest.mark.parametrize("place", range(0, 40, 3))
def test_nobody_changes_it(place: int) -> None:
    text = SEALS.seal("cart", "17", NOW)
    other = "A" if text[place] != "A" else "B"
    assert SEALS.open("cart", text[:place] + other + text[place + 1 :], NOW - timedelta(days=1)) is None


@pytest.mark.parametrize("text", ["", ".", "a.b", "ä", "\x00", "x" * (LONGEST + 1)])
def test_anything_else_is_no_seal(text: str) -> None:
    assert SEALS.open("cart", text, NOW) is None
