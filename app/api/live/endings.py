"""Why the gateway ends a connection of a subscriber, with the close codes of graphql-transport-ws and of RFC 6455.

Clients of graphql-ws connect again after 1001, 1012, 1013 and 4403, and not after 4400, 4401, 4406, 4409 and 4429.
"""

from typing import Any, Final, NamedTuple

MOST_REASON = 123
"""Bytes that a close frame has for its reason (RFC 6455, 5.5)."""


class Ending(NamedTuple):
    """A close code, what it is called in metrics, and what the client is told."""

    code: int
    name: str
    reason: str


class Ended(Exception):
    """The connection ends."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending


class RequestErrors(Exception):
    """The errors of an operation that does not run, or not any further, as a response shows them."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(errors[0]["message"])
        self.errors = errors

    @classmethod
    def of(cls, code: str, message: str, **details: Any) -> "RequestErrors":
        return cls([{"message": message, "extensions": {"code": code, **details}}])


GOING_AWAY: Final = Ending(1001, "going_away", "The gateway is stopping; connect again.")
INTERNAL_ERROR: Final = Ending(1011, "internal_error", "An unexpected error occurred.")
INTERRUPTED: Final = Ending(1012, "interrupted", "Changes may have been missed; connect again and read anew.")
TOO_MANY_CONNECTIONS: Final = Ending(1013, "too_many_connections", "This account has too many connections; close some.")
FLOOD: Final = Ending(1008, "flood", "Too many messages.")
SIGNED_OUT: Final = Ending(4401, "signed_out", "The session has ended or never was; sign in again.")
NOT_ACKNOWLEDGED: Final = Ending(4401, "not_acknowledged", "Unauthorized")
RIGHTS_CHANGED: Final = Ending(4403, "rights_changed", "What this account may do has changed; connect again.")
SUBPROTOCOL: Final = Ending(4406, "subprotocol", "Subprotocol not acceptable")
LATE: Final = Ending(4408, "init_timeout", "Connection initialisation timeout")
SECOND_INIT: Final = Ending(4429, "second_init", "Too many initialisation requests")


def invalid(reason: str) -> Ending:
    """A message that is none of the protocol's."""
    return Ending(4400, "invalid_message", reason)


def taken(id: str) -> Ending:
    """An id that another operation of the connection has."""
    return Ending(4409, "id_taken", f"Subscriber for {id} already exists")


def fitting(reason: str) -> str:
    """A reason cut to what a close frame may hold."""
    return reason.encode()[:MOST_REASON].decode(errors="ignore")
