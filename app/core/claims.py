"""A request as it can be told from others, so that it takes effect once."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID


@dataclass(frozen=True)
class Claim:
    """Whose request it is, what for, under which key of its sender, and a fingerprint of its input."""

    user_id: UUID
    operation: str
    key: str
    input_hash: str

    @property
    def values(self) -> dict[str, Any]:
        """The columns that tell it from others."""
        return {"user_id": self.user_id, "operation": self.operation, "key": self.key}
