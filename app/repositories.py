"""All repositories behind one factory, the only way to the database.

repositories = create_repository_factory(database, cache, metrics, logger)
order = await repositories.orders.find_by_id(order_id)
async with repositories.transaction() as tx:
    await tx.carts.add_item(cart_id, product_id, 2)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

import structlog

from app.accounts.repository import (
    ApiKeyRepository,
    MailOptOutRepository,
    RolePermissionRepository,
    RoleRepository,
    SecurityEventRepository,
    SignInDelayRepository,
    UserRepository,
    UserSessionRepository,
    VerificationRepository,
)
from app.accounts.repository.idempotency import IdempotencyRepository
from app.analytics.insights import AnalyticsRepository
from app.analytics.repository import EventSpoolRepository, UserEventRepository
from app.carts.repository import CartItemRepository, CartRepository, GuestCartRepository, RecoveryEventRepository, VoucherRepository
from app.catalog.repository import InventoryMovementRepository, InventoryRepository, ProductRepository
from app.core.cache import Cache
from app.core.changes import Changes
from app.core.clickhouse import ClickHouse
from app.core.clock import Clock, system_clock
from app.core.database import Database
from app.core.factory import RepositoryFactory
from app.core.metrics import Metrics
from app.engagement.repository import (
    FeatureRepository,
    NotificationRepository,
    ProductFeatureRepository,
    UserFeatureRepository,
    WebhookDeliveryRepository,
    WebhookRepository,
)
from app.orders.repository import OrderEventRepository, OrderItemRepository, OrderRepository, PaymentRepository, RefundRepository
from app.privacy.repository import DataExportRepository, ErasureRepository
from app.quality.repository import (
    QualityAnomalyRepository,
    QualityScheduleRepository,
    QualityValidationRepository,
    ReconciliationExecutionRepository,
    ReconciliationRuleRepository,
    RepairOperationRepository,
)
from app.stores.repository import ConfigRepository, ReportRepository, StoreRepository, StoreSettingsRepository


@dataclass(frozen=True)
class Repositories(RepositoryFactory):
    """An attribute per repository, each made when first asked for."""

    async def find_changed(self, entity: str, ids: Sequence[UUID]) -> list[Any]:
        """The rows of an entity that have changed, None for those that are gone."""
        found: list[Any] = await getattr(self, entity).find_by_ids(ids)
        return found

    @cached_property
    def stores(self) -> StoreRepository:
        return self.of(StoreRepository)

    @cached_property
    def store_settings(self) -> StoreSettingsRepository:
        return self.of(StoreSettingsRepository)

    @cached_property
    def reports(self) -> ReportRepository:
        return self.of(ReportRepository)

    @cached_property
    def config(self) -> ConfigRepository:
        return self.of(ConfigRepository)

    @cached_property
    def users(self) -> UserRepository:
        return self.of(UserRepository)

    @cached_property
    def roles(self) -> RoleRepository:
        return self.of(RoleRepository)

    @cached_property
    def role_permissions(self) -> RolePermissionRepository:
        return self.of(RolePermissionRepository)

    @cached_property
    def user_sessions(self) -> UserSessionRepository:
        return self.of(UserSessionRepository)

    @cached_property
    def api_keys(self) -> ApiKeyRepository:
        return self.of(ApiKeyRepository)

    @cached_property
    def security_events(self) -> SecurityEventRepository:
        return self.of(SecurityEventRepository)

    @cached_property
    def sign_in_delays(self) -> SignInDelayRepository:
        return self.of(SignInDelayRepository)

    @cached_property
    def verifications(self) -> VerificationRepository:
        return self.of(VerificationRepository)

    @cached_property
    def mail_opt_outs(self) -> MailOptOutRepository:
        return self.of(MailOptOutRepository)

    @cached_property
    def idempotency_keys(self) -> IdempotencyRepository:
        return self.of(IdempotencyRepository)

    @cached_property
    def products(self) -> ProductRepository:
        return self.of(ProductRepository)

    @cached_property
    def inventory(self) -> InventoryRepository:
        return self.of(InventoryRepository)

    @cached_property
    def inventory_movements(self) -> InventoryMovementRepository:
        return self.of(InventoryMovementRepository)

    @cached_property
    def carts(self) -> CartRepository:
        return self.of(CartRepository)

    @cached_property
    def guest_carts(self) -> GuestCartRepository:
        return self.of(GuestCartRepository)

    @cached_property
    def cart_items(self) -> CartItemRepository:
        return self.of(CartItemRepository)

    @cached_property
    def vouchers(self) -> VoucherRepository:
        return self.of(VoucherRepository)

    @cached_property
    def recovery_events(self) -> RecoveryEventRepository:
        return self.of(RecoveryEventRepository)

    @cached_property
    def orders(self) -> OrderRepository:
        return self.of(OrderRepository)

    @cached_property
    def order_items(self) -> OrderItemRepository:
        return self.of(OrderItemRepository)

    @cached_property
    def order_events(self) -> OrderEventRepository:
        return self.of(OrderEventRepository)

    @cached_property
    def refunds(self) -> RefundRepository:
        return self.of(RefundRepository)

    @cached_property
    def payments(self) -> PaymentRepository:
        return self.of(PaymentRepository)

    @cached_property
    def features(self) -> FeatureRepository:
        return self.of(FeatureRepository)

    @cached_property
    def user_features(self) -> UserFeatureRepository:
        return self.of(UserFeatureRepository)

    @cached_property
    def product_features(self) -> ProductFeatureRepository:
        return self.of(ProductFeatureRepository)

    @cached_property
    def notifications(self) -> NotificationRepository:
        return self.of(NotificationRepository)

    @cached_property
    def webhooks(self) -> WebhookRepository:
        return self.of(WebhookRepository)

    @cached_property
    def webhook_deliveries(self) -> WebhookDeliveryRepository:
        return self.of(WebhookDeliveryRepository)

    @cached_property
    def quality_validations(self) -> QualityValidationRepository:
        return self.of(QualityValidationRepository)

    @cached_property
    def quality_anomalies(self) -> QualityAnomalyRepository:
        return self.of(QualityAnomalyRepository)

    @cached_property
    def quality_schedules(self) -> QualityScheduleRepository:
        return self.of(QualityScheduleRepository)

    @cached_property
    def reconciliation_rules(self) -> ReconciliationRuleRepository:
        return self.of(ReconciliationRuleRepository)

    @cached_property
    def reconciliation_executions(self) -> ReconciliationExecutionRepository:
        return self.of(ReconciliationExecutionRepository)

    @cached_property
    def data_exports(self) -> DataExportRepository:
        return self.of(DataExportRepository)

    @cached_property
    def account_erasures(self) -> ErasureRepository:
        return self.of(ErasureRepository)

    @cached_property
    def event_spool(self) -> EventSpoolRepository:
        return self.of(EventSpoolRepository)

    @cached_property
    def user_events(self) -> UserEventRepository:
        return self.of(UserEventRepository)

    @cached_property
    def analytics(self) -> AnalyticsRepository:
        return self.of(AnalyticsRepository)

    @cached_property
    def repair_operations(self) -> RepairOperationRepository:
        return self.of(RepairOperationRepository)


def create_repository_factory(
    database: Database,
    cache: Cache,
    metrics: Metrics,
    logger: Any = None,
    *,
    clickhouse: ClickHouse | None = None,
    changes: Changes | None = None,
    now: Clock = system_clock,
) -> Repositories:
    """Repositories for the system itself, each statement on any connection; `scoped(viewer)` and `transaction()` give narrower ones.

    Without ClickHouse, what is kept there is unavailable; without `changes`, nobody is told of any.
    """
    return Repositories(
        database=database,
        cache=cache,
        metrics=metrics,
        session=database,
        now=now,
        clickhouse=clickhouse,
        changes=changes,
        logger=logger or structlog.get_logger(),
    )
