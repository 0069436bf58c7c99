"""Signing up, in and out, and ending sessions."""

import strawberry
from strawberry import UNSET

from app.accounts.authentication import SignedIn
from app.accounts.models import UserCreate
from app.accounts.types import AuthPayload, Session, SessionPayload, SignOutPayload
from app.api.context import Info
from app.api.inputs import IdInput
from app.api.mutations import mutation, validated
from app.api.permissions import public, signed_in
from app.api.rate_limit import Per, Rate
from app.api.scalars import decode_id


@strawberry.input
class SignUpInput:
    email: str
    username: str = strawberry.field(description="3 to 50 letters, digits, dots, dashes and underscores.")
    password: str = strawberry.field(description="8 to 128 characters, whichever you like.")
    first_name: str | None = UNSET
    last_name: str | None = UNSET


@strawberry.input
class SignInInput:
    email: str
    password: str


def _answer(info: Info, signed_in: SignedIn) -> AuthPayload:
    info.context.signed_in_as(signed_in.viewer)
    info.context.keep_session(signed_in.token, signed_in.expires_at)
    return AuthPayload(session=Session(token=signed_in.token, expires_at=signed_in.expires_at, user=signed_in.user))  # type: ignore[arg-type]


@strawberry.type
class AccountsMutation:
    @mutation(access=public, rate=Rate("10/minute", per=Per.ADDRESS), description="Make an account and sign in with it.")
    async def sign_up(self, info: Info, input: SignUpInput) -> AuthPayload | None:
        account = validated(UserCreate, input)
        services = info.context.services
        repositories = info.context.repositories.unscoped
        user = await repositories.users.create_account(account, await services.passwords.hash(account.password.get_secret_value()))
        return _answer(info, await services.authenticator.open_session(repositories, user.id, info.context.request))

    @mutation(access=public, rate=Rate("10/minute", per=Per.ADDRESS), description="Open a session with an email and a password.")
    async def sign_in(self, info: Info, input: SignInInput) -> AuthPayload | None:
        repositories = info.context.repositories.unscoped
        return _answer(
            info, await info.context.services.authenticator.sign_in(repositories, input.email, input.password, info.context.request)
        )

    @mutation(access=signed_in, description="End the session that the request came with.")
    async def sign_out(self, info: Info) -> SignOutPayload | None:
        await info.context.services.authenticator.end_session(info.context.repositories, info.context.viewer.session_id, signed_out=True)
        info.context.drop_session()
        return SignOutPayload(signed_out=True)

    @mutation(access=signed_in, description="End one of the caller's sessions, on whatever device it is.")
    async def revoke_session(self, info: Info, input: IdInput) -> SessionPayload | None:
        session_id = decode_id(input.id, "UserSession", "id")
        return SessionPayload(session=await info.context.services.authenticator.end_session(info.context.repositories, session_id))
