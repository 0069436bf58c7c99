"""Checks that run by themselves."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, Field
from sqlalchemy import CheckConstraint, Index, text

from app.core import model
from app.core.inputs import Input, Update
from app.core.model import JSON, Timestamped
from app.quality.models.checks import QualityCheckType

MAX_SCHEDULES = 200
SHORTEST, LONGEST = 5, 31 * 24 * 60
"""Minutes between two runs."""

Interval = Annotated[int, Field(ge=SHORTEST, le=LONGEST)]


class QualitySchedule(Timestamped, table=True):
    """A check that runs every `interval_minutes`, the next time at `next_run_at`."""

    __tablename__ = "quality_schedules"
    __table_args__ = (
        model.one_of("check_type", QualityCheckType),
        CheckConstraint(f"interval_minutes between {SHORTEST} and {LONGEST}", name="interval_minutes"),
        *model.is_object("parameters"),
        model.newest_first("quality_schedules"),
        Index("ix_quality_schedules_due", "next_run_at", postgresql_where=text("enabled")),
    )

    table_name: str = model.column(max_length=128)
    column_name: str | None = model.column(None, max_length=128)
    check_type: QualityCheckType = model.choice()
    parameters: dict[str, Any] = model.column({}, sa_type=JSON)
    interval_minutes: int = model.column(1440)
    enabled: bool = model.column(True)
    last_run_at: datetime | None = model.moment()
    next_run_at: datetime = model.moment("now")


class QualityScheduleTerms(Input):
    """How often a check runs by itself."""

    interval_minutes: Interval = 1440
    enabled: bool = True


class QualityScheduleUpdate(Update):
    """What may change about a schedule."""

    interval_minutes: Interval | None = None
    enabled: bool | None = None
    next_run_at: AwareDatetime | None = None
