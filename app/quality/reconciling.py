"""A run that somebody watches from the command line: started, worked at where this process may, and followed to its end."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from app.quality.models import ReconciliationExecution, ReconciliationRule
from app.quality.reconciliation import Reconciliation

LOOK_SECONDS: Final = 0.2


async def unknown_rule(repositories: Any, name: str) -> str:
    """What to say of a name that no rule has."""
    known = ", ".join(sorted(rule.name for rule in await repositories.reconciliation_rules.find_many(limit=50)))
    return f"no reconciliation rule is named {name!r}; there are: {known or 'none'}"


@dataclass(frozen=True)
class Watch:
    """`tell` is told by how many percent the run has come further. Where this process `works` not, a worker does the run."""

    repositories: Any
    segment: int
    works: bool
    tell: Callable[[int], object]

    async def run(self, rule: ReconciliationRule) -> ReconciliationExecution:
        """Start the rule, or find the run that has not ended, and give it once it has. Raises what the comparison fails with."""
        reconciliation = Reconciliation(self.repositories, self.segment)
        run = await reconciliation.start(rule)
        work = asyncio.create_task(self._work(reconciliation, run)) if self.works else None
        shown = 0
        while run.finished_at is None:
            if work is not None and work.done():
                work.result()
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(work or asyncio.sleep(LOOK_SECONDS)), LOOK_SECONDS)
            run = await self.repositories.reconciliation_executions.get_by_id(run.id)
            self.tell(run.progress - shown)
            shown = run.progress
        if work is not None:
            await work
        return run

    async def _work(self, reconciliation: Reconciliation, run: ReconciliationExecution) -> None:
        """Work at the run, slice by slice; another process may be at it as well."""
        while run.finished_at is None:
            await reconciliation.work({"execution": str(run.id)})
            run = await self.repositories.reconciliation_executions.get_by_id(run.id)
            if run.finished_at is None:
                await asyncio.sleep(LOOK_SECONDS)
