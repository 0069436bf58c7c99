"""What features were before, as it grows old."""

from typing import Any, Final

from app.core.revisions import RevisionRepository
from app.engagement.models import FeatureHistory, ProductFeature, UserFeature


class CartFeatureRevisions(RevisionRepository[FeatureHistory]):
    model = FeatureHistory
    revised = ("feature_id",)
    order = "revision"


class UserFeatureRevisions(RevisionRepository[UserFeature]):
    model = UserFeature
    revised = ("user_id", "store_id", "name", "version")


class ProductFeatureRevisions(RevisionRepository[ProductFeature]):
    model = ProductFeature
    revised = ("product_id", "store_id", "name", "version")


REVISIONS: Final[tuple[type[RevisionRepository[Any]], ...]] = (CartFeatureRevisions, UserFeatureRevisions, ProductFeatureRevisions)
