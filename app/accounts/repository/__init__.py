"""Users, roles, sessions, API keys, one-time tokens, and what happens to accounts: every statement on them."""

from app.accounts.repository.api_keys import ApiKeyRepository
from app.accounts.repository.delays import SignInDelayRepository
from app.accounts.repository.opt_outs import MailOptOutRepository
from app.accounts.repository.roles import RolePermissionRepository, RoleRepository
from app.accounts.repository.security_events import SecurityEventRepository
from app.accounts.repository.sessions import UserSessionRepository
from app.accounts.repository.standing import VIEWERS
from app.accounts.repository.users import UserRepository
from app.accounts.repository.verifications import VerificationRepository

__all__ = [
    "VIEWERS",
    "ApiKeyRepository",
    "MailOptOutRepository",
    "RolePermissionRepository",
    "RoleRepository",
    "SecurityEventRepository",
    "SignInDelayRepository",
    "UserRepository",
    "UserSessionRepository",
    "VerificationRepository",
]
