"""Addresses that want no reminders."""

import hashlib

from app.core import model
from app.core.model import Created


class MailOptOut(Created, table=True):
    """An address whose reader wants no mails that it has not asked for, whoever it is. Only a hash of it is kept."""

    __tablename__ = "mail_opt_outs"
    __table_args__ = (model.is_sha256("address_hash"), model.newest_first("mail_opt_outs"))

    address_hash: str = model.column(max_length=64, unique=True)


def address_hash(email: str) -> str:
    """What an address is known by, in whatever case it is written: SHA-256 in hex."""
    return hashlib.sha256(email.strip().lower().encode()).hexdigest()
