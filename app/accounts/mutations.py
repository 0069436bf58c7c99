"""Signing up, in and out, ending sessions, and what changes about an account."""

from datetime import datetime
from typing import Any

import strawberry
from strawberry import UNSET

from app.accounts.assignments import assign_role
from app.accounts.authentication import SignedIn
from app.accounts.models import (
    ApiKeyRequest,
    EmailVerification,
    PasswordChange,
    PasswordReset,
    PasswordResetRequest,
    ProfileUpdate,
    RoleAssignment,
    SignUpRequest,
)
from app.accounts.profiles import update_profile
from app.accounts.types import (
    ApiKeyPayload,
    AuthPayload,
    EmailVerificationPayload,
    MailRequestPayload,
    PasswordResetPayload,
    RevokedSessionsPayload,
    Session,
    SessionPayload,
    SignOutPayload,
    UserPayload,
)
from app.api.context import Info
from app.api.inputs import IdInput
from app.api.mutations import mutation, validated
from app.api.permissions import public, requires, signed_in
from app.api.rate_limit import Per, Rate
from app.api.scalars import decode_id


@strawberry.input
class SignUpInput:
    email: str
    username: str = strawberry.field(description="3 to 50 letters, digits, dots, dashes and underscores.")
    password: str = strawberry.field(description="8 to 128 characters, whichever you like, that are not easy to guess.")
    first_name: str | None = UNSET
    last_name: str | None = UNSET
    email_token: str | None = strawberry.field(default=UNSET, description="From the mail, after CONFIRMATION_REQUIRED.")


@strawberry.input
class SignInInput:
    email: str
    password: str


@strawberry.input
class UpdateProfileInput:
    username: str | None = strawberry.field(default=UNSET, description="3 to 50 letters, digits, dots, dashes and underscores.")
    first_name: str | None = UNSET
    last_name: str | None = UNSET
    phone: str | None = strawberry.field(default=UNSET, description="As in E.164: digits after a plus.")
    image_url: str | None = UNSET
    accepts_reminders: bool | None = strawberry.field(
        default=UNSET, description="Whether carts that were left are written about. True needs an email address that is proved."
    )


@strawberry.input
class ChangePasswordInput:
    current_password: str
    password: str = strawberry.field(description="The new one: 8 to 128 characters, whichever you like, that are not easy to guess.")


@strawberry.input
class RequestPasswordResetInput:
    email: str


@strawberry.input
class ResetPasswordInput:
    token: str = strawberry.field(description="From the mail.")
    password: str = strawberry.field(description="The new one: 8 to 128 characters, whichever you like, that are not easy to guess.")


@strawberry.input
class VerifyEmailInput:
    token: str = strawberry.field(description="From the mail.")


@strawberry.input
class AssignRoleInput:
    user_id: strawberry.ID
    role_id: strawberry.ID | None = strawberry.field(default=None, description="Without one, the user loses the present role.")
    expires_at: datetime | None = strawberry.field(default=None, description="When the role ends; never, if not given.")


@strawberry.input
class CreateApiKeyInput:
    name: str
    scopes: list[str] = strawberry.field(description="What it may be used for, each as `orders:read`; never more than its owner may do.")
    expires_at: datetime | None = strawberry.field(default=None, description="When it ends; in a year, if not given.")


async def _answer(info: Info, signed_in: SignedIn) -> AuthPayload:
    session = signed_in.session
    await info.context.services.guest_carts.hand_over(info.context, session.user.id)
    info.context.signed_in_as(signed_in.viewer)
    info.context.keep_session(session.token, session.expires_at)
    return AuthPayload(session=Session(token=session.token, expires_at=session.expires_at, user=session.user))  # type: ignore[arg-type]


@strawberry.type
class AccountsMutation:
    @mutation(
        access=public,
        rate=Rate("10/minute", per=Per.ADDRESS),
        description="Make an account and sign in with it. CONFIRMATION_REQUIRED asks to look for a mail that says how to go on.",
    )
    async def sign_up(self, info: Info, input: SignUpInput) -> AuthPayload | None:
        asked, context = validated(SignUpRequest, input), info.context
        return await _answer(info, await context.services.sign_up.sign_up(context.repositories.unscoped, asked, context.request))

    @mutation(access=public, rate=Rate("10/minute", per=Per.ADDRESS), description="Open a session with an email and a password.")
    async def sign_in(self, info: Info, input: SignInInput) -> AuthPayload | None:
        context = info.context
        repositories = context.repositories.unscoped
        return await _answer(info, await context.services.sign_in.sign_in(repositories, input.email, input.password, context.request))

    @mutation(access=signed_in, description="End the session that the request came with.")
    async def sign_out(self, info: Info) -> SignOutPayload | None:
        context = info.context
        await context.services.sessions.sign_out(context.repositories, context.viewer, context.request)
        context.drop_session()
        return SignOutPayload(signed_out=True)

    @mutation(access=signed_in, description="End one of the caller's sessions, on whatever device it is.")
    async def revoke_session(self, info: Info, input: IdInput) -> SessionPayload | None:
        session_id, context = decode_id(input.id, "UserSession", "id"), info.context
        revoke = context.services.sessions.revoke
        return SessionPayload(session=await revoke(context.repositories, context.viewer, session_id, context.request))

    @mutation(access=signed_in, description="End all of the caller's sessions but the one that asks.")
    async def revoke_all_sessions(self, info: Info) -> RevokedSessionsPayload | None:
        context = info.context
        revoke = context.services.sessions.revoke_others
        return RevokedSessionsPayload(revoked=await revoke(context.repositories, context.viewer, context.request))

    @mutation(
        access=signed_in, rate=Rate("10/minute"), description="Set a new password. It ends every session of the account, also this one."
    )
    async def change_password(self, info: Info, input: ChangePasswordInput) -> UserPayload | None:
        change, context = validated(PasswordChange, input), info.context
        change_password = context.services.credentials.change_password
        user = await change_password(context.repositories, context.viewer.user_id, change, context.request)
        context.drop_session()
        return UserPayload(user=user)

    @mutation(
        access=public,
        rate=Rate("10/hour", per=Per.ADDRESS),
        description="Have a mail sent that lets whoever owns an address set a new password. The answer is the same without an account.",
    )
    async def request_password_reset(self, info: Info, input: RequestPasswordResetInput) -> MailRequestPayload | None:
        asked, context = validated(PasswordResetRequest, input), info.context
        await context.services.credentials.request_password_reset(context.repositories.unscoped, asked.email, context.request)
        return MailRequestPayload(requested=True)

    @mutation(
        access=public,
        rate=Rate("10/minute", per=Per.ADDRESS),
        description="Set a new password with the token from a mail. It ends every session of the account.",
    )
    async def reset_password(self, info: Info, input: ResetPasswordInput) -> PasswordResetPayload | None:
        reset, context = validated(PasswordReset, input), info.context
        await context.services.credentials.reset_password(context.repositories.unscoped, reset, context.request)
        return PasswordResetPayload(password_reset=True)

    @mutation(access=signed_in, rate=Rate("10/hour"), description="Have the mail sent again that proves the caller's email address.")
    async def request_email_verification(self, info: Info) -> MailRequestPayload | None:
        context = info.context
        await context.services.credentials.request_email_verification(context.repositories, context.viewer.user_id)
        return MailRequestPayload(requested=True)

    @mutation(access=public, rate=Rate("20/minute", per=Per.ADDRESS), description="Prove an email address with the token from a mail.")
    async def verify_email(self, info: Info, input: VerifyEmailInput) -> EmailVerificationPayload | None:
        verification, context = validated(EmailVerification, input), info.context
        await context.services.credentials.verify_email(context.repositories.unscoped, verification.token, context.request)
        return EmailVerificationPayload(email_verified=True)

    @mutation(access=signed_in, description="Change what others see of the caller's account.")
    async def update_profile(self, info: Info, input: UpdateProfileInput) -> UserPayload | None:
        user: Any = await update_profile(info.context.repositories, validated(ProfileUpdate, input))
        return UserPayload(user=user)

    @mutation(access=requires("*:*"), description="Give a user a role, or take it away.")
    async def assign_role(self, info: Info, input: AssignRoleInput) -> UserPayload | None:
        role_id = decode_id(input.role_id, "Role", "roleId") if input.role_id else None
        user_id = decode_id(input.user_id, "User", "userId")
        assignment, context = RoleAssignment(user_id=user_id, role_id=role_id, expires_at=input.expires_at), info.context
        user: Any = await assign_role(context.repositories, assignment, context.viewer, context.request)
        return UserPayload(user=user)

    @mutation(access=signed_in, rate=Rate("10/minute"), description="Make a key for programs, which act with it as the caller.")
    async def create_api_key(self, info: Info, input: CreateApiKeyInput) -> ApiKeyPayload | None:
        asked, context = validated(ApiKeyRequest, input), info.context
        issued = await context.services.api_keys.issue(context.repositories, context.viewer.user_id, asked, context.request)
        return ApiKeyPayload(api_key=issued.row, key_secret=issued.text)

    @mutation(access=signed_in, description="End a key of the caller, at once and for good.")
    async def revoke_api_key(self, info: Info, input: IdInput) -> ApiKeyPayload | None:
        key_id, context = decode_id(input.id, "ApiKey", "id"), info.context
        revoke = context.services.api_keys.revoke
        return ApiKeyPayload(api_key=await revoke(context.repositories, context.viewer.user_id, key_id, context.request))
