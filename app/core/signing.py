"""Texts that we give away and know again: signed, each for one purpose, perhaps for a time. Nothing is stored for them.

Whoever has one can read its subject, and can neither change it nor use it for another purpose.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

LONGEST = 500
"""Longer than any of ours."""


class Seals:
    """Signs with the newest key, and knows what older ones have signed. The newest is the first."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = list(reversed(keys))

    def seal(self, purpose: str, subject: str, expires_at: datetime | None = None) -> str:
        """A text of letters, digits, dashes, underscores and dots that stands for a subject."""
        return str(self._signer(purpose).dumps([subject, expires_at and int(expires_at.timestamp())]))

    def open(self, purpose: str, text: str, now: datetime) -> str | None:
        """The subject; None for what we have not signed for this purpose, and for what has expired."""
        if len(text) > LONGEST:
            return None
        try:
            subject, expires_at = self._signer(purpose).loads(text)
        except BadData:
            return None
        return str(subject) if expires_at is None or now.timestamp() < expires_at else None

    def _signer(self, purpose: str) -> Any:
        options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        return URLSafeSerializer(self._keys, salt=purpose, signer_kwargs=options)
