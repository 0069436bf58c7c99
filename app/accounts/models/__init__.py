"""Accounts: users, the roles that permit them things, what they prove who they are with, and what happens to their security."""

from app.accounts.models.api_keys import API_KEY_RATE_LIMIT, MAX_SCOPES, ApiKey, ApiKeyCreate, ApiKeyRequest, ApiKeyStatus, KeyName, Scopes
from app.accounts.models.emails import Email, validate_email
from app.accounts.models.idempotency import IdempotencyKey
from app.accounts.models.opt_outs import MailOptOut, address_hash
from app.accounts.models.passwords import (
    MAX_PASSWORD_LENGTH,
    MAX_TOKEN_LENGTH,
    MIN_PASSWORD_LENGTH,
    EmailVerification,
    Password,
    PasswordChange,
    PasswordInput,
    PasswordReset,
    PasswordResetRequest,
)
from app.accounts.models.roles import PermissionPart, Role, RoleAssignment, RoleCreate, RolePermission, RolePermissionCreate, UserRoleType
from app.accounts.models.security import PROOFS, Patience, SecurityEvent, SecurityEventType, SignInDelay
from app.accounts.models.sessions import SessionEndReason, Sha256, UserSession, UserSessionCreate
from app.accounts.models.users import (
    PersonName,
    Phone,
    ProfileUpdate,
    SignUpRequest,
    User,
    UserCreate,
    Username,
    UserStatus,
    UserUpdate,
    is_active_user,
    known_of,
)
from app.accounts.models.verifications import Verification, VerificationPurpose

__all__ = [
    "API_KEY_RATE_LIMIT",
    "MAX_PASSWORD_LENGTH",
    "MAX_SCOPES",
    "MAX_TOKEN_LENGTH",
    "MIN_PASSWORD_LENGTH",
    "PROOFS",
    "ApiKey",
    "ApiKeyCreate",
    "ApiKeyRequest",
    "ApiKeyStatus",
    "Email",
    "EmailVerification",
    "IdempotencyKey",
    "KeyName",
    "MailOptOut",
    "Password",
    "PasswordChange",
    "PasswordInput",
    "PasswordReset",
    "PasswordResetRequest",
    "Patience",
    "PermissionPart",
    "PersonName",
    "Phone",
    "ProfileUpdate",
    "Role",
    "RoleAssignment",
    "RoleCreate",
    "RolePermission",
    "RolePermissionCreate",
    "Scopes",
    "SecurityEvent",
    "SecurityEventType",
    "SessionEndReason",
    "Sha256",
    "SignInDelay",
    "SignUpRequest",
    "User",
    "UserCreate",
    "UserRoleType",
    "UserSession",
    "UserSessionCreate",
    "UserStatus",
    "UserUpdate",
    "Username",
    "Verification",
    "VerificationPurpose",
    "address_hash",
    "is_active_user",
    "known_of",
    "validate_email",
]
