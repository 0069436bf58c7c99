"""Archives of a person's data as GraphQL shows them."""

from datetime import datetime

import strawberry

from app.api.mutations import Payload
from app.api.node import Node
from app.api.permissions import signed_in
from app.core.leases import FileStatus
from app.privacy import models

strawberry.enum(FileStatus, name="DataExportStatus", description="An archive waits, is being made, and is then ready or failed.")


@strawberry.type(description="An archive of all that is known of the caller. Its file is removed after a while, or for a newer one.")
class DataExport(Node):
    model = models.DataExport
    access = signed_in

    status: FileStatus
    row_count: int | None
    generated_at: datetime | None
    expires_at: datetime | None = strawberry.field(description="When its file is removed.")
    error: str | None = strawberry.field(description="Why there is none.")
    created_at: datetime
    updated_at: datetime


@strawberry.type
class DataExportPayload(Payload):
    data_export: DataExport | None = None


@strawberry.type
class DataExportDownloadPayload(Payload):
    url: str | None = strawberry.field(default=None, description="Where the file is, for whoever has this link, until it expires.")
    expires_at: datetime | None = None
