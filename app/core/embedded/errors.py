"""What goes wrong with the embedded server."""


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot be found, started or used; the message says why and what to do."""
