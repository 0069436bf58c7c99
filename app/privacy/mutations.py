"""What one can have done with what is known of oneself."""

import strawberry

from app.api.context import Info
from app.api.inputs import IdInput
from app.api.mutations import Payload, mutation, validated
from app.api.permissions import signed_in
from app.api.rate_limit import Rate
from app.api.scalars import decode_id
from app.core.errors import NotFound
from app.privacy.models import AccountDeletion
from app.privacy.types import DataExportDownloadPayload, DataExportPayload


@strawberry.input
class DeleteAccountInput:
    password: str = strawberry.field(description="The account's, once more.")


@strawberry.type
class DeletedAccountPayload(Payload):
    deleted: bool = False


@strawberry.type
class PrivacyMutation:
    @mutation(
        access=signed_in,
        rate=Rate("5/hour"),
        description="Have an archive made of all that is known of the caller; while one is being made, that is given again. When its "
        "status is READY, of which a notification tells, `createDataExportDownload` gives a link; it takes the place of an earlier one.",
    )
    async def export_my_data(self, info: Info) -> DataExportPayload | None:
        context = info.context
        return DataExportPayload(data_export=await context.repositories.data_exports.request(context.viewer.user_id))

    @mutation(access=signed_in, rate=Rate("60/hour"), description="A link to an archive of the caller's own, which ends after a while.")
    async def create_data_export_download(self, info: Info, input: IdInput) -> DataExportDownloadPayload | None:
        context, id = info.context, decode_id(input.id, "DataExport", "id")
        export = await context.repositories.data_exports.find_first({"id": id, "user_id": context.viewer.user_id})
        if export is None:
            raise NotFound("you have no DataExport with this id")
        url, expires_at = context.services.export_links.link_to(export, context.repositories.now())
        return DataExportDownloadPayload(url=url, expires_at=expires_at)

    @mutation(
        access=signed_in,
        rate=Rate("10/minute"),
        description="Delete the caller's account for good, with what tells of its person. Orders stay for the accounts of stores.",
    )
    async def delete_account(self, info: Info, input: DeleteAccountInput) -> DeletedAccountPayload | None:
        deletion, context = validated(AccountDeletion, input), info.context
        await context.services.erasing.delete_account(context.repositories, context.viewer.user_id, deletion, context.request)
        context.drop_session()
        return DeletedAccountPayload(deleted=True)
