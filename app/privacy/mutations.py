"""Deleting one's account."""

import strawberry

from app.api.context import Info
from app.api.mutations import Payload, mutation, validated
from app.api.permissions import signed_in
from app.api.rate_limit import Rate
from app.privacy.models import AccountDeletion


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
        rate=Rate("10/minute"),
        description="Delete the caller's account for good, with what tells of its person. Orders stay for the accounts of stores.",
    )
    async def delete_account(self, info: Info, input: DeleteAccountInput) -> DeletedAccountPayload | None:
        deletion, context = validated(AccountDeletion, input), info.context
        await context.services.erasing.delete_account(context.repositories, context.viewer.user_id, deletion, context.request)
        context.drop_session()
        return DeletedAccountPayload(deleted=True)
