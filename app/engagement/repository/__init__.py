"""Features, notifications and webhooks: every statement on them."""

from app.engagement.repository.features import FeatureRepository
from app.engagement.repository.history import REVISIONS
from app.engagement.repository.messages import NotificationRepository
from app.engagement.repository.subject_features import ProductFeatureRepository, UserFeatureRepository
from app.engagement.repository.webhooks import MAX_WEBHOOKS, Attempted, WebhookDeliveryRepository, WebhookRepository

__all__ = [
    "MAX_WEBHOOKS",
    "REVISIONS",
    "Attempted",
    "FeatureRepository",
    "NotificationRepository",
    "ProductFeatureRepository",
    "UserFeatureRepository",
    "WebhookDeliveryRepository",
    "WebhookRepository",
]
