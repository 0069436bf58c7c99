"""Inputs that several mutations share."""

import strawberry


@strawberry.input(description="Names one object.")
class IdInput:
    id: strawberry.ID
