"""Runs the checks whose time has come.

A turn claims them and enqueues a job for each in one transaction, so whoever dies leaves neither a check that is not run nor one that runs
twice. The job carries the id that the run will have: a job that is done again finds it there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from app.core.errors import UserError
from app.quality.checks import CheckRequest, Checks
from app.quality.models import QualityCheckType

CHECK_JOB: Final = "quality.check"
PER_TURN: Final = 50
JOB_CHECK_SECONDS: Final = 45.0
"""What a scheduled check's statement may take: less than a job may."""

KEPT: Final = timedelta(days=90)
"""Runs, and anomalies that were resolved, are removed after that."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Schedules:
    """Looks after the checks that run by themselves. Repositories are the system's."""

    repositories: Any

    async def run_due(self) -> None:
        """One turn: have each check run whose time has come."""
        async with self.repositories.transaction() as tx:
            for schedule in await tx.quality_schedules.claim_due(PER_TURN):
                await tx.enqueue(CHECK_JOB, schedule_id=schedule.id, validation_id=uuid7())

    async def check(self, arguments: Mapping[str, Any]) -> None:
        """The work of a job: one run of a schedule's check."""
        id = UUID(arguments["validation_id"])
        schedule = await self.repositories.quality_schedules.find_by_id(UUID(arguments["schedule_id"]))
        if schedule is None or await self.repositories.quality_validations.exists({"id": id}):
            return
        checks = Checks(self.repositories, JOB_CHECK_SECONDS)
        type = QualityCheckType(schedule.check_type)
        try:
            check = await checks.prepare(CheckRequest(type, schedule.table_name, schedule.column_name, schedule.parameters))
            await checks.run(check, id)
        except UserError as error:
            # What was there when the schedule was made is not there any more.
            log.warning("quality_schedule_impossible", schedule=str(schedule.id), field=error.field, reason=error.message)

    async def remove_old(self) -> None:
        before = self.repositories.now() - KEPT
        await self.repositories.quality_validations.cleanup_old_validations(before)
        await self.repositories.quality_anomalies.cleanup_resolved(before)
