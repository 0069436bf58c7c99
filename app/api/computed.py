"""Fields worked out in Python from columns of their row.

    slug: str = computed(slug_of, needs=("name",))

What the function needs is declared, so that a row can be read with these columns alone.
"""

from collections.abc import Callable
from typing import Any

import strawberry

from app.api.permissions import Access, protected
from app.execution.declarations import Computed


def computed(compute: Callable[..., Any], *, needs: tuple[str, ...], access: Access | None = None, description: str | None = None) -> Any:
    """A field whose value is `compute` of the row's columns `needs`, in this order. It must depend on nothing else."""

    def resolve(root):  # type: ignore[no-untyped-def]
        return compute(*(getattr(root, name) for name in needs))

    resolve.__annotations__ = {"root": Any}
    return strawberry.field(
        resolver=resolve,
        description=description,
        **protected(access, computed=Computed(needs, compute)),
    )
