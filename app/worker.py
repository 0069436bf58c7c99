"""The background work: every job and schedule registered. Start as many workers as you like; each job and each turn runs once."""

import asyncio
import signal
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import structlog

from app.accounts.mail import MAIL_JOB, AccountMails
from app.accounts.notices import NOTIFY_JOB
from app.analytics.happenings import PlatformEvents
from app.analytics.replay import replaying
from app.carts.recovery import REMIND_JOB, Recovery
from app.core.database import Database
from app.core.jobs import JobWork, Work, Worker, remove_history
from app.engagement.delivery import DELIVER_JOB, Deliveries
from app.engagement.features import FeatureStore
from app.engagement.happenings import Happenings
from app.engagement.history import FeatureHistories
from app.engagement.notices import LETTER_JOB, Notices
from app.engagement.recomputing import Recomputation
from app.engagement.reminders import CartReminders
from app.engagement.subject_features import SubjectFeatures
from app.orders.mirror import OrderMirror
from app.orders.repository.news import ProviderEventRepository
from app.orders.sweep import Sweep
from app.privacy.erasing import ERASE_JOB, Erasure
from app.privacy.exporting import Archives
from app.privacy.repository.exports import EXPORT_JOB
from app.quality.reconciliation import RECONCILE_JOB, Reconciliation
from app.quality.schedules import CHECK_JOB, Schedules
from app.reporting.work import Reports
from app.repositories import Repositories
from app.resources import Resources, make_mailer, open_resources
from app.settings import Settings
from app.stores.events import COUNTED_JOB, HAPPENED_JOB
from app.stores.repository import REPORT_JOB

OFTEN = "* * * * * */10"
EVERY_MINUTE = "* * * * *"
EVERY_QUARTER = "*/15 * * * *"
EVERY_HOUR = "7 * * * *"
EVERY_NIGHT = "17 3 * * *"
SECURITY_EVENTS_KEPT = timedelta(days=365)
PROVIDER_EVENTS_KEPT = timedelta(days=30)
READ_NOTIFICATIONS_KEPT = timedelta(days=90)

log = structlog.get_logger(__name__)


def schedule_cleaning(worker: Worker, database: Database, repositories: Repositories, guest_cart_lifetime: timedelta) -> None:
    """Tell the worker what happens by itself."""

    async def end_sessions() -> None:
        await repositories.user_sessions.cleanup_expired_sessions()

    async def expire_api_keys() -> None:
        await repositories.api_keys.expire_late()

    async def remove_old_security_events() -> None:
        await repositories.security_events.delete_before(repositories.now() - SECURITY_EVENTS_KEPT)

    async def forget_failed_sign_ins() -> None:
        await repositories.sign_in_delays.delete_old()

    async def remove_expired_tokens() -> None:
        await repositories.verifications.delete_expired()

    async def remove_read_notifications() -> None:
        await repositories.notifications.cleanup_old_read_notifications(repositories.now() - READ_NOTIFICATIONS_KEPT)

    async def remove_job_history() -> None:
        await remove_history(database)

    async def remove_old_guest_carts() -> None:
        await repositories.guest_carts.remove_old(repositories.now() - guest_cart_lifetime)

    worker.schedule("sessions.end_expired", EVERY_QUARTER, end_sessions)
    worker.schedule("api_keys.expire", EVERY_QUARTER, expire_api_keys)
    worker.schedule("security_events.remove_old", EVERY_NIGHT, remove_old_security_events)
    worker.schedule("sign_in_delays.forget", EVERY_QUARTER, forget_failed_sign_ins)
    worker.schedule("verifications.remove_expired", EVERY_NIGHT, remove_expired_tokens)
    worker.schedule("carts.remove_old_guests", EVERY_NIGHT, remove_old_guest_carts)
    worker.schedule("notifications.remove_read", EVERY_NIGHT, remove_read_notifications)
    worker.schedule("jobs.remove_history", EVERY_NIGHT, remove_job_history)


async def work(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, then finish what is at hand."""
    async with open_resources(settings) as resources, AsyncExitStack() as stack:
        # An embedded ClickHouse belongs to its gateway, which replays what waits for it.
        if settings.clickhouse_url is not None:
            await stack.enter_async_context(replaying(resources.repositories))
        await _until_signalled(make_worker(resources, analytical=settings.clickhouse_url is not None))


def make_analytical_worker(resources: Resources) -> Worker:
    """A worker that knows what needs ClickHouse, and nothing else: for a gateway with the embedded one, which no other process reaches."""
    worker = Worker(resources.database.dsn)
    _analyse(worker, resources)
    return worker


def _analyse(worker: Worker, resources: Resources) -> None:
    repositories, storage = resources.repositories, resources.storage
    reconciliation = Reconciliation(repositories)
    worker.schedule("orders.mirror", EVERY_MINUTE, OrderMirror(repositories).run)
    worker.schedule("reconciliation.start_due", EVERY_MINUTE, reconciliation.turn)
    worker.job(RECONCILE_JOB, reconciliation.work, at_once=2)
    erasure = Erasure(repositories, storage)
    worker.job(ERASE_JOB, erasure.erase)
    worker.schedule("privacy.take_up_left", EVERY_QUARTER, erasure.take_up_left)
    archives = Archives.from_settings(resources.settings, repositories, storage)
    worker.job(EXPORT_JOB, archives.make, at_once=2)
    worker.schedule("exports.take_up_lost", EVERY_MINUTE, archives.take_up_lost)
    worker.schedule("exports.remove_old", EVERY_QUARTER, archives.remove_old)


def make_worker(resources: Resources, *, analytical: bool = True) -> Worker:
    """A worker that knows everything to be done; what needs ClickHouse only where that is at hand (`analytical`)."""
    settings, repositories = resources.settings, resources.repositories
    mailer = make_mailer(settings)
    mails = AccountMails.from_settings(settings, repositories, mailer)
    worker = Worker(resources.database.dsn)
    worker.job(MAIL_JOB, mails.send)
    worker.job(HAPPENED_JOB, make_happenings(repositories))
    counted = PlatformEvents(repositories)
    worker.job(COUNTED_JOB, counted.tell)
    deliveries = Deliveries.from_settings(settings, repositories)
    worker.job(DELIVER_JOB, deliveries.deliver, at_once=50)
    worker.schedule("webhooks.take_up_lost", EVERY_QUARTER, deliveries.take_up_lost)
    worker.schedule("webhooks.remove_old", EVERY_NIGHT, deliveries.remove_old)
    notices = Notices.from_settings(settings, repositories, mailer)
    worker.job(NOTIFY_JOB, notices.tell)
    worker.job(LETTER_JOB, notices.send)
    worker.job(REMIND_JOB, CartReminders.from_settings(settings, repositories, mailer).send)
    reports = Reports.from_settings(settings, repositories, resources.storage)
    worker.job(REPORT_JOB, reports.make, at_once=2)
    worker.schedule("reports.take_up_lost", EVERY_MINUTE, reports.take_up_lost)
    worker.schedule("reports.remove_old", EVERY_QUARTER, reports.remove_old)
    recovery = Recovery(repositories)
    worker.schedule("carts.recover", EVERY_MINUTE, recovery.run)
    worker.schedule("carts.forget", EVERY_NIGHT, recovery.forget)
    worker.schedule("features.compute", OFTEN, FeatureStore(repositories, on_settled=counted.tell_changed).run)
    worker.schedule("features.recompute", OFTEN, Recomputation(repositories).run)
    histories = FeatureHistories(repositories, timedelta(seconds=settings.feature_history_lifetime))
    worker.schedule("features.remove_history", EVERY_NIGHT, histories.remove_old)
    worker.schedule("features.compute_subjects", EVERY_HOUR, SubjectFeatures(repositories).run)
    schedules = Schedules(repositories)
    worker.job(CHECK_JOB, schedules.check, at_once=2)
    worker.schedule("quality.run_due", EVERY_MINUTE, schedules.run_due)
    worker.schedule("quality.remove_old", EVERY_NIGHT, schedules.remove_old)
    schedule_cleaning(worker, resources.database, repositories, timedelta(seconds=settings.guest_cart_lifetime))
    if analytical:
        _analyse(worker, resources)
    worker.schedule("payments.sweep", OFTEN, make_sweep(resources).run)
    worker.schedule("idempotency_keys.remove_old", EVERY_QUARTER, make_forgetting(resources))
    return worker


def make_happenings(repositories: Repositories) -> JobWork:
    """What follows from the outbox of stores: their own systems are told, and analytics count it. Each may be done again."""
    told, counted = Happenings(repositories), PlatformEvents(repositories)

    async def tell(arguments: dict[str, Any]) -> None:
        await told.tell(arguments)
        await counted.tell(arguments)

    return tell


def make_forgetting(resources: Resources) -> Work:
    """What removes the answers to requests that nobody will send again."""
    lifetime, repositories = timedelta(seconds=resources.settings.idempotency_key_lifetime), resources.repositories

    async def forget() -> None:
        await repositories.idempotency_keys.delete_older(repositories.now() - lifetime)
        await repositories.of(ProviderEventRepository).delete_older(repositories.now() - PROVIDER_EVENTS_KEPT)

    return forget


def make_sweep(resources: Resources) -> Sweep:
    """What settles payments and gives up orders that nobody came back for."""
    settings = resources.settings
    patience = timedelta(seconds=settings.payment_patience), timedelta(seconds=settings.order_patience)
    return Sweep(resources.repositories, resources.payments, *patience)


async def _until_signalled(worker: Worker) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    log.info("worker_ready")
    await worker.run()
    log.info("worker_stopped")
