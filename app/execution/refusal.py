"""Why an operation is left to resolvers."""


class Refused(Exception):
    """Compiled execution cannot answer this, or not exactly. `reason` is a short word that is counted; `detail` says what it was."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
