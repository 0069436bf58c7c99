"""Quality checks and reconciliation rules as the specification uses them."""

from datetime import timedelta
from uuid import uuid4

import pytest

from app.core.clock import system_clock
from app.core.errors import NotFound
from app.core.security import Viewer, ViewerKind
from app.quality.models import QualityAnomalyCreate, QualityValidationCreate, ReconciliationRuleCreate
from app.repositories import Repositories


async def test_failed_checks_since_a_time_come_newest_first(repositories: Repositories) -> None:
    now = system_clock()
    for hours, status in ((1, "FAILED"), (3, "FAILED"), (2, "PASSED"), (50, "FAILED")):
        check = QualityValidationCreate(table_name="orders", check_type="NULL_CHECK", check_name="orders_null", status=status)  # type: ignore[arg-type]
        await repositories.quality_validations.create({**check.model_dump(), "executed_at": now - timedelta(hours=hours)})
    found = await repositories.quality_validations.find_failed(now - timedelta(hours=24))
    assert [row.executed_at for row in found] == [now - timedelta(hours=1), now - timedelta(hours=3)]
    stats = await repositories.quality_validations.get_validation_stats()
    assert stats == {"total": 4, "passed": 1, "failed": 3, "warning": 0, "error": 0}
    latest = await repositories.quality_validations.get_latest_for_table("orders")
    assert latest is not None
    assert latest.executed_at == now - timedelta(hours=1)
    assert await repositories.quality_validations.cleanup_old_validations(now - timedelta(hours=24)) == 1


async def test_an_anomaly_is_resolved_once(repositories: Repositories) -> None:
    row = await repositories.quality_anomalies.create(QualityAnomalyCreate(type="outlier", table_name="orders"))  # type: ignore[arg-type]
    first = await repositories.quality_anomalies.resolve(row.id)
    assert (await repositories.quality_anomalies.resolve(row.id)).resolved_at == first.resolved_at
    with pytest.raises(NotFound):
        await repositories.quality_anomalies.resolve(uuid4())


async def test_enabled_rules_come_in_the_order_of_their_next_run(repositories: Repositories) -> None:
    now = system_clock()
    rules = repositories.reconciliation_rules
    for name, hours in (("later", 48), ("sooner", 1), ("asked", None)):
        rule = ReconciliationRuleCreate(
            name=name,
            source_table="orders",
            target_table="payments",
            join_key="id",
            next_run_at=None if hours is None else now + timedelta(hours=hours),
        )
        await rules.create(rule)
    assert [row.name for row in await rules.find_enabled()] == ["sooner", "later", "asked"]
    sooner = await rules.find_first({"name": "sooner"})
    assert sooner is not None
    await rules.disable_rule(sooner.id)
    assert [row.name for row in await rules.find_enabled()] == ["later", "asked"]
    assert (await rules.enable_rule(sooner.id)).enabled


async def test_shoppers_and_staff_see_nothing_of_it_by_themselves(repositories: Repositories) -> None:
    await repositories.quality_anomalies.create(QualityAnomalyCreate(type="DUPLICATE", table_name="users"))  # type: ignore[arg-type]
    for kind in (ViewerKind.SHOPPER, ViewerKind.ANONYMOUS):
        assert await repositories.scoped(Viewer(kind=kind, user_id=uuid4())).quality_anomalies.count() == 0
