"""Checks that run by themselves: made, changed and removed by staff, and run once each time, however many workers there are."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson

from app.core.security import Viewer, ViewerKind
from app.quality.schedules import CHECK_JOB, Schedules
from app.repositories import Repositories
from tests.shop import ADMINISTRATOR, Shop

SHOWN = "schedule { id tableName checkType parameters intervalMinutes enabled lastRunAt nextRunAt }"


def later(shop: Shop, **passed: float) -> Repositories:
    moment = shop.repositories.now() + timedelta(**passed)
    return replace(shop.repositories, now=lambda: moment)


async def jobs(shop: Shop) -> list[dict[str, Any]]:
    """The jobs of checks that are enqueued, which are taken away."""
    async with shop.database.connection() as connection:
        rows = await connection.fetch("delete from pgqueuer where entrypoint = $1 returning payload", CHECK_JOB)
    return [orjson.loads(row["payload"]) for row in rows]


async def clean(shop: Shop) -> None:
    await jobs(shop)
    for rows in (shop.repositories.quality_schedules, shop.repositories.quality_anomalies, shop.repositories.quality_validations):
        await rows.delete_many({})


async def change(shop: Shop, viewer: Viewer, name: str, kind: str, shown: str = SHOWN, **input: Any) -> Any:
    document = f"mutation ($input: {kind}!) {{ {name}(input: $input) {{ {shown} userErrors {{ field code }} }} }}"
    return await shop.ask(viewer, document, input=input)


async def made(shop: Shop, viewer: Viewer = ADMINISTRATOR, **input: Any) -> Any:
    given = {"tableName": "users", "checkType": "NULL_CHECK", "columnName": "first_name", "intervalMinutes": 60, **input}
    return await change(shop, viewer, "createQualitySchedule", "CreateQualityScheduleInput", **given)


async def test_due_checks_run_once_though_many_workers_look(shop: Shop) -> None:
    await shop.viewer()
    schedule = (await made(shop))["data"]["createQualitySchedule"]["schedule"]
    await made(shop, enabled=False)
    soon = later(shop, minutes=1)
    await asyncio.gather(*(Schedules(soon).run_due() for _ in range(8)))
    [job] = await jobs(shop)
    # The worker that did it died before it said so.
    for _ in range(2):
        await Schedules(soon).check(job)
    [run] = await shop.repositories.quality_validations.find_many({})
    assert (str(run.id), run.check_name, run.status) == (job["validation_id"], "users_NULL_CHECK", "FAILED")
    await Schedules(later(shop, minutes=50)).run_due()
    assert await jobs(shop) == []
    await Schedules(later(shop, minutes=62)).run_due()
    assert len(await jobs(shop)) == 1
    shown = (await shop.ask(ADMINISTRATOR, "{ qualitySchedules { nodes { id lastRunAt } } }"))["data"]["qualitySchedules"]["nodes"]
    assert {node["id"]: node["lastRunAt"] is not None for node in shown}[schedule["id"]]
    await clean(shop)


async def test_a_schedule_is_made_of_a_check_that_can_be_run_and_changed_and_removed(shop: Shop) -> None:
    for wrong, field in (({"tableName": "user_sessions"}, "tableName"), ({"intervalMinutes": 4}, "intervalMinutes")):
        payload = (await made(shop, **wrong))["data"]["createQualitySchedule"]
        assert (payload["schedule"], payload["userErrors"][0]["field"]) == (None, [field])
    assert await shop.repositories.quality_schedules.count() == 0
    fresh: Any = {"checkType": "FRESHNESS_CHECK", "columnName": "created_at", "parameters": {"maxAgeSeconds": 60}}
    schedule = (await made(shop, **fresh))["data"]["createQualitySchedule"]["schedule"]
    assert (schedule["parameters"], schedule["intervalMinutes"], schedule["enabled"]) == ({"maxAgeSeconds": 60}, 60, True)
    answer = await change(shop, ADMINISTRATOR, "updateQualitySchedule", "UpdateQualityScheduleInput", id=schedule["id"], enabled=False)
    assert answer["data"]["updateQualitySchedule"]["schedule"]["enabled"] is False
    await Schedules(later(shop, days=2)).run_due()
    assert await jobs(shop) == []
    gone = await change(shop, ADMINISTRATOR, "deleteQualitySchedule", "IdInput", "deleted", id=schedule["id"])
    assert gone["data"]["deleteQualitySchedule"] == {"deleted": True, "userErrors": []}
    again = await change(shop, ADMINISTRATOR, "deleteQualitySchedule", "IdInput", "deleted", id=schedule["id"])
    assert again["data"]["deleteQualitySchedule"]["userErrors"] == [{"field": ["id"], "code": "NOT_FOUND"}]
    await clean(shop)


async def test_a_check_whose_column_has_gone_ends_its_job(shop: Shop) -> None:
    await shop.repositories.quality_schedules.create({"table_name": "users", "check_type": "NULL_CHECK", "column_name": "gone"})
    await Schedules(later(shop, minutes=1)).run_due()
    [job] = await jobs(shop)
    await Schedules(shop.repositories).check(job)
    assert await shop.repositories.quality_validations.count() == 0
    await clean(shop)


async def test_staff_of_a_store_make_none(shop: Shop) -> None:
    answer = await made(shop, await shop.viewer(ViewerKind.STAFF, "quality:read", "quality:write"))
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert await shop.repositories.quality_schedules.count() == 0
