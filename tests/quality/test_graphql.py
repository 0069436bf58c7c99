"""Quality checks and anomalies as GraphQL shows them, and as staff deal with them."""

from dataclasses import replace
from datetime import timedelta

from app.core.security import ViewerKind
from app.quality.models import QualityAnomalyCreate, QualityValidationCreate
from tests.shop import ADMINISTRATOR, Shop, ids

READ, WRITE = "quality:read", "quality:write"


async def test_staff_see_runs_newest_first_and_narrow_them(shop: Shop) -> None:
    now, rows = shop.repositories.now(), shop.repositories.quality_validations
    for hours, status, table in ((30, "FAILED", "orders"), (2, "FAILED", "carts"), (1, "PASSED", "orders"), (3, "ERROR", "carts")):
        check = QualityValidationCreate(table_name=table, check_type="NULL_CHECK", check_name=f"{table}_null", status=status)  # type: ignore[arg-type]
        await rows.create({**check.model_dump(), "executed_at": now - timedelta(hours=hours), "affected_rows": 2**40})
    analyst = await shop.viewer(ViewerKind.STAFF, READ)
    shown = "nodes { tableName status affectedRows } totalCount"
    since = (now - timedelta(days=1)).isoformat()
    answer = await shop.ask(
        analyst,
        f"""query ($since: DateTime!) {{
          all: qualityValidations {{ {shown} }}
          orders: qualityValidations(filter: {{ tableName: {{ eq: "orders" }}, status: {{ eq: FAILED }} }}) {{ {shown} }}
          failed: failedQualityChecks(since: $since) {{ {shown} }}
        }}""",
        since=since,
    )
    found = {name: [(node["tableName"], node["status"]) for node in page["nodes"]] for name, page in answer["data"].items()}
    assert found == {
        "all": [("orders", "PASSED"), ("carts", "FAILED"), ("carts", "ERROR"), ("orders", "FAILED")],
        "orders": [("orders", "FAILED")],
        "failed": [("carts", "FAILED")],
    }
    assert answer["data"]["failed"]["nodes"][0]["affectedRows"] == 2**31 - 1, "GraphQL's Int ends there"
    await rows.delete_many({})


async def test_nobody_sees_or_resolves_without_the_permission(shop: Shop) -> None:
    anomaly = await shop.repositories.quality_anomalies.create(QualityAnomalyCreate(type="DUPLICATE", table_name="users"))  # type: ignore[arg-type]
    document = "mutation ($id: ID!) { resolveQualityAnomaly(input: { id: $id }) { anomaly { resolved } userErrors { code } } }"
    for viewer in (await shop.viewer(), await shop.viewer(ViewerKind.STAFF, "orders:read")):
        for text in ("{ qualityAnomalies { totalCount } }", "{ qualityValidations { totalCount } }"):
            answer = await shop.ask(viewer, text)
            assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        refused = await shop.ask(viewer, document, **ids(id=anomaly))
        assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    of_a_store = await shop.viewer(ViewerKind.STAFF, READ, WRITE)
    refused = await shop.ask(of_a_store, document, **ids(id=anomaly))
    assert refused["errors"][0]["extensions"]["code"] == "NOT_FOUND", "what staff of one store say is about the rows of all"
    assert not (await shop.repositories.quality_anomalies.get_by_id(anomaly.id)).resolved
    await shop.repositories.quality_anomalies.delete_many({})


async def test_an_anomaly_is_resolved_once_by_somebody(shop: Shop) -> None:
    validation = await shop.repositories.quality_validations.create(
        QualityValidationCreate(table_name="users", check_type="DUPLICATE_CHECK", check_name="users_duplicate")  # type: ignore[arg-type]
    )
    found = QualityAnomalyCreate(validation_id=validation.id, type="DUPLICATE", table_name="users", record_id="7")  # type: ignore[arg-type]
    anomaly = await shop.repositories.quality_anomalies.create(found)
    first, second = [replace(await shop.viewer(ViewerKind.STAFF, READ, WRITE, "users:read"), store_id=None) for _ in range(2)]
    shown = "anomaly { resolved resolvedAt resolvedBy { id } validation { checkName anomalies { nodes { recordId } } } }"
    document = f"mutation ($id: ID!) {{ resolveQualityAnomaly(input: {{ id: $id }}) {{ {shown} userErrors {{ code }} }} }}"
    answers = [(await shop.ask(viewer, document, **ids(id=anomaly)))["data"]["resolveQualityAnomaly"] for viewer in (first, second)]
    assert answers[0] == answers[1]
    assert answers[0]["anomaly"]["validation"] == {"checkName": "users_duplicate", "anomalies": {"nodes": [{"recordId": "7"}]}}
    row = await shop.repositories.quality_anomalies.get_by_id(anomaly.id)
    assert row.resolved_by == first.user_id
    assert (await shop.ask(ADMINISTRATOR, "{ qualityAnomalies(filter: { resolved: { eq: false } }) { totalCount } }"))["data"] == {
        "qualityAnomalies": {"totalCount": 0}
    }
    await shop.repositories.quality_validations.delete_many({})
    await shop.repositories.quality_anomalies.delete_many({})


RUN = """mutation ($input: RunQualityCheckInput!) {
  runQualityCheck(input: $input) { validation { id status severity affectedRows details executionTime } userErrors { field message code } }
}"""


async def test_staff_of_no_store_run_a_check_and_a_grave_failure_is_told_once(shop: Shop) -> None:
    roles = {role.name: role.id for role in await shop.repositories.roles.find_many({})}
    runner = replace(await shop.viewer(ViewerKind.STAFF, READ, WRITE), store_id=None)
    told = [await shop.viewer() for _ in range(3)]
    for viewer, role in zip(told, ("ANALYST", "ADMIN", "VIEWER"), strict=True):
        assert viewer.user_id is not None
        await shop.repositories.users.update_by_id(viewer.user_id, {"role_id": roles[role], "first_name": "Ann"})
    input = {"tableName": "users", "checkType": "NULL_CHECK", "columnName": "first_name"}
    payload = (await shop.ask(runner, RUN, input=input))["data"]["runQualityCheck"]
    assert payload["userErrors"] == []
    run = payload["validation"]
    assert (run["status"], run["severity"], run["affectedRows"], run["details"]["total"]) == ("FAILED", "CRITICAL", 1, 4)
    news = await shop.repositories.notifications.find_many({"type": "quality_alert"})
    assert {row.user_id for row in news} == {viewer.user_id for viewer in told[:2]}, "whoever may read of the quality of the data"
    assert len(news) == 2
    assert news[0].message == "The check users_NULL_CHECK failed (critical): 1 of 4 rows."
    assert news[0]["metadata"] == {"validationId": run["id"]}  # type: ignore[index]
    sound = (await shop.ask(runner, RUN, input={**input, "columnName": "email"}))["data"]["runQualityCheck"]["validation"]
    assert (sound["status"], sound["details"]) == ("PASSED", {"total": 4, "share": 0, "sample": [], "parameters": {}})
    assert await shop.repositories.notifications.count({"type": "quality_alert"}) == 2
    for validation in await shop.repositories.quality_validations.find_many({}):
        await shop.repositories.quality_validations.delete_by_id(validation.id)
    await shop.repositories.quality_anomalies.delete_many({})


async def test_a_check_that_makes_no_sense_or_is_not_for_its_sender_runs_nothing(shop: Shop) -> None:
    input = {"tableName": "users", "checkType": "RANGE_CHECK", "columnName": "created_at", "parameters": {"min": "soon"}}
    payload = (await shop.ask(ADMINISTRATOR, RUN, input=input))["data"]["runQualityCheck"]
    wrong = {"field": ["parameters", "min"], "message": "must be a time such as 2026-01-31T12:00:00Z", "code": "INVALID"}
    assert payload == {"validation": None, "userErrors": [wrong]}
    for viewer in (await shop.viewer(), await shop.viewer(ViewerKind.STAFF, READ), await shop.viewer(ViewerKind.STAFF, READ, WRITE)):
        answer = await shop.ask(viewer, RUN, input=input)
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN", "a check is about the rows of all stores"
    assert await shop.repositories.quality_validations.count() == 0
