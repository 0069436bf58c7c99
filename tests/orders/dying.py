"""A gateway that ends at a moment of a payment as a process ends that is killed: `python -m tests.orders.dying MOMENT`."""

import os
import signal
import sys
from dataclasses import replace

import uvicorn

from app.core.quotas import Quotas
from app.main import Gateway, Services
from app.orders.payments import Moment
from app.resources import Resources
from app.settings import read_settings


class DyingGateway(Gateway):
    """A gateway whose payments never get past the moment."""

    moment = Moment(sys.argv[-1]) if __name__ == "__main__" else Moment.ORDERED

    def _services(self, resources: Resources, quotas: Quotas) -> Services:
        services = super()._services(resources, quotas)
        return replace(services, payments=replace(services.payments, passed=self._die))

    def _die(self, moment: Moment) -> None:
        if moment is self.moment:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    uvicorn.run(DyingGateway(read_settings()).app(), host="127.0.0.1", port=0)
