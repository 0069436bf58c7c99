"""The archives that one has asked for."""

import strawberry

from app.accounts.types import CreatedOrder
from app.api.connection import Connection, connection
from app.api.permissions import signed_in
from app.privacy.types import DataExport


@strawberry.type
class PrivacyQuery:
    data_exports: Connection[DataExport] = connection(
        "data_exports",
        access=signed_in,
        order=CreatedOrder,
        own="user_id",
        description="The archives of the caller's own data that `exportMyData` has asked for, newest first.",
    )
