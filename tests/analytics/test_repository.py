"""The events of users, on the real engine: stored as they are, each once, in pages that hold still, for those who may see them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.errors import BadInput, Unavailable
from app.core.paging import PageRequest, Sort
from app.core.security import ANONYMOUS, SYSTEM, Viewer, ViewerKind
from app.repositories import Repositories
from tests.analytics.conftest import NOON, event

FRACTION = NOON + timedelta(minutes=5, microseconds=123457)
STORE, OTHER = UUID(int=1), UUID(int=2)


async def times(repositories: Repositories, **asked: Any) -> list[int]:
    """In which minutes the events of a page happened."""
    page = await repositories.user_events.find_page(PageRequest(**asked))
    return [round((node.timestamp - NOON) / timedelta(minutes=1)) for node in page.nodes]


async def add(repositories: Repositories, *events: dict[str, Any]) -> Sequence[dict[str, Any]]:
    await repositories.user_events.insert_batch(events, str(uuid4()))
    return events


async def test_an_event_is_read_back_as_it_was_written(repositories: Repositories) -> None:
    odd = "tab\t line\n quote' \" back\\slash {f:String} é \U0001f6d2"
    made = event(
        user_id=uuid4(),
        session_id=odd,
        client_event_id=odd,
        event_type=odd,
        timestamp=NOON + timedelta(microseconds=123456),
        metadata={"a": [1, None, True, {"b": odd}], "c": 1.5},
        page_url=odd,
        user_agent=odd,
        ip_address="2001:db8::1",
        is_error=True,
        error_msg=odd,
    )
    await add(repositories, made, event(store_id=None))

    found = await repositories.user_events.find_by_id(made["id"])

    assert found is not None
    assert {name: getattr(found, name) for name in made} == made
    page = await repositories.user_events.find_page(PageRequest(where={"event_type": odd, "session_id": {"in": [odd, "x"]}}))
    assert [node.id for node in page.nodes] == [made["id"]]
    assert await repositories.user_events.count({"store_id": None}) == 1


async def test_the_same_batch_again_adds_nothing(repositories: Repositories) -> None:
    events = [event(n) for n in range(50)]
    for _ in range(3):
        await repositories.user_events.insert_batch(events, "token")
    assert await stored(repositories) == 50


async def test_an_event_that_arrives_twice_counts_once_and_is_the_later_one(repositories: Repositories) -> None:
    first = event()
    await add(repositories, first, event(1))
    await add(repositories, {**first, "received_at": first["received_at"] + timedelta(hours=1), "page_url": "https://shop.example/again"})

    assert await stored(repositories) == 3
    assert await repositories.user_events.count() == 2
    assert await times(repositories) == [1, 0]
    found = await repositories.user_events.find_by_ids([first["id"]])
    assert found[0] is not None
    assert found[0].page_url == "https://shop.example/again"


async def stored(repositories: Repositories) -> int:
    assert repositories.clickhouse is not None
    return int(await repositories.clickhouse.fetch_value("SELECT count() FROM user_events"))


@pytest.mark.parametrize("sorts", [(), (Sort("event_type"), Sort("timestamp", descending=True)), (Sort("received_at"),)])
async def test_pages_show_every_event_once_in_both_directions(repositories: Repositories, sorts: tuple[Sort, ...]) -> None:
    """With ties in every key but the id, and an event more that arrives on the way."""
    made = await add(repositories, *(event(n // 4, event_type=f"TYPE_{n % 3}") for n in range(23)))
    keys = {str(made_one["id"]) for made_one in made}

    def key(node: Any) -> tuple[Any, ...]:
        return tuple(getattr(node, sort.column) for sort in sorts)

    for backward in (False, True):
        seen: list[Any] = []
        cursor = None
        while True:
            asked = {"last": 5, "before": cursor} if backward else {"first": 5, "after": cursor}
            page = await repositories.user_events.find_page(PageRequest(sorts=sorts, **asked))  # type: ignore[arg-type]
            seen = [*page.nodes, *seen] if backward else [*seen, *page.nodes]
            cursor = page.cursor(page.nodes[0 if backward else -1])
            if not (page.has_previous_page if backward else page.has_next_page):
                break
        assert len(seen) == 23
        assert {str(node.id) for node in seen} == keys
        if len(sorts) == 1:
            assert [key(node) for node in seen] == sorted(key(node) for node in seen)
    assert await page.count() == 23


async def test_a_cursor_of_another_list_is_refused(repositories: Repositories) -> None:
    await add(repositories, event())
    cursor = (await repositories.user_events.find_page(PageRequest())).cursor(event_row := (await first_of(repositories)))
    with pytest.raises(BadInput):
        await repositories.user_events.find_page(PageRequest(after=cursor, sorts=(Sort("event_type"),)))
    assert event_row.id


async def first_of(repositories: Repositories) -> Any:
    return (await repositories.user_events.find_page(PageRequest())).nodes[0]


async def test_staff_see_their_store_and_shoppers_nothing(repositories: Repositories) -> None:
    made = await add(repositories, event(0), event(1, store_id=OTHER), event(2, store_id=None, user_id=UUID(int=9)))
    seen = {
        "system": SYSTEM,
        "administrator": Viewer(ViewerKind.ADMINISTRATOR, UUID(int=7)),
        "staff": Viewer(ViewerKind.STAFF, UUID(int=7), store_id=STORE),
        "staff of none": Viewer(ViewerKind.STAFF, UUID(int=7)),
        "shopper": Viewer(ViewerKind.SHOPPER, UUID(int=9), store_id=STORE),
        "anonymous": ANONYMOUS,
    }
    found = {name: await times(repositories.scoped(viewer)) for name, viewer in seen.items()}
    assert found == {"system": [2, 1, 0], "administrator": [2, 1, 0], "staff": [0], "staff of none": [], "shopper": [], "anonymous": []}

    staff = repositories.scoped(seen["staff"])
    by_id = await staff.user_events.find_by_ids([row["id"] for row in made])
    assert [row is not None for row in by_id] == [True, False, False]
    assert await times(staff, where={"or": [{"store_id": OTHER}, {"store_id": STORE}]}) == [0]
    assert await staff.user_events.count() == 1


async def test_filters(repositories: Repositories) -> None:
    await add(repositories, event(0, page_url="https://shop.example/100%_Wool"), event(1, user_id=UUID(int=5)), event(2, is_error=True))
    await add(repositories, event(timestamp=FRACTION, user_id=UUID(int=6)))
    for where, expected in (
        ({"page_url": {"contains": "0%_w"}}, [0]),
        ({"page_url": {"contains": "100__"}}, []),
        ({"user_id": UUID(int=5)}, [1]),
        ({"user_id": {"is_null": True}}, [2, 0]),
        ({"not": {"user_id": UUID(int=5)}}, [5]),
        ({"is_error": True}, [2]),
        ({"timestamp": {"gt": NOON, "lt": NOON + timedelta(minutes=2)}}, [1]),
        ({"timestamp": {"in": [NOON, FRACTION]}}, [5, 0]),
        ({"timestamp": FRACTION}, [5]),
        ({"timestamp": {"gt": NOON + timedelta(minutes=2), "lt": FRACTION}}, []),
        ({"or": []}, []),
        ({"and": []}, [5, 2, 1, 0]),
        ({"id": []}, []),
    ):
        assert await times(repositories, where=where) == expected, where


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=40))
async def test_whatever_is_looked_for_is_a_value(repositories: Repositories, text: str) -> None:
    """No text ends a statement, names a parameter or matches anything but itself."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    made = event(session_id=text, metadata={"text": text})
    await repositories.user_events.insert_batch([made], str(made["id"]))
    found = await repositories.user_events.find_page(PageRequest(where={"id": made["id"], "session_id": text}))
    assert [node.session_id for node in found.nodes] == [text]
    assert found.nodes[0].metadata == {"text": text}
    assert await repositories.user_events.count({"id": made["id"], "session_id": {"contains": text}}) == 1


async def test_without_clickhouse_events_are_unavailable(repositories: Repositories) -> None:
    from dataclasses import replace

    away = replace(repositories, clickhouse=None)
    with pytest.raises(Unavailable, match="user_events"):
        await away.user_events.find_page(PageRequest())
