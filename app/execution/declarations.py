"""What the fields of a schema declare about themselves, as data that an executor can read.

The API floor writes these beside its resolvers and collects them for a whole schema (`Declarations`). A field that declares nothing is
one that only its resolver understands.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.core.paging import Sort
from app.core.security import Viewer

MAX_BATCH_KEYS = 1000
"""Most keys that one call of a batch method gets."""

NO_KEY = "people"
"""The scope that no key has."""

Where = Mapping[str, Any]
"""A filter as `core.filtering` reads it."""


@dataclass(frozen=True)
class Access:
    """Who may ask: everybody, whoever is signed in, or holders of a permission. `scope` is what a key needs where no permission says it.

    `owner` is a column of the field's row: whose id is in it needs no permission.
    """

    authenticated: bool = False
    permission: str | None = None
    scope: str | None = None
    owner: str | None = None

    @property
    def key_scope(self) -> str:
        """What an API key must be good for, whoever's it is."""
        return self.scope or self.permission or NO_KEY

    def allows(self, viewer: Viewer) -> bool:
        if self.permission:
            return viewer.can(self.permission)
        return viewer.is_authenticated or not self.authenticated

    def depends_on_row(self, viewer: Viewer) -> bool:
        """Whether a viewer who may ask may do so for some rows only."""
        return self.owner is not None and not viewer.can(self.permission or "")


@dataclass(frozen=True)
class Column:
    """The field shows a column of its row."""

    name: str


@dataclass(frozen=True)
class GlobalId:
    """The field shows the Relay global id of its row."""


@dataclass(frozen=True)
class Money:
    """The field shows the amount in one column with the digits of the currency in another one of the same row."""

    column: str
    currency: str


@dataclass(frozen=True)
class Computed:
    """The field is worked out in Python from columns of its row, which `compute` takes in this order."""

    needs: tuple[str, ...]
    compute: Callable[..., Any]


@dataclass(frozen=True)
class Batched:
    """The field is worked out in Python for many rows at once, from what is outside their database: `compute(repositories, keys)` gives
    the values in the order of the keys. A key is the row's column `needs`, or a tuple where there are several.
    """

    needs: tuple[str, ...]
    compute: Callable[[Any, Sequence[Any]], Awaitable[Sequence[Any]]]


@dataclass(frozen=True)
class Listing:
    """A declared list: of which repository, with which filter and order, and what narrows it beside the viewer's scope."""

    repository: str
    filter: type[Any] | None
    order: type[Any] | None
    default_sorts: tuple[Sort, ...] = ()
    fixed: dict[str, Any] | None = None
    """A filter that holds for everybody but staff, such as `{"status": "ACTIVE"}` of the public catalog."""
    own: str | None = None
    """The column that must be the viewer, also where the viewer could see more."""


@dataclass(frozen=True)
class Relation:
    """How rows of `repository` belong to a parent row: `batch` finds them by the parent's `key` column."""

    repository: str
    batch: str
    key: str
    listing: Listing | None = None


@dataclass(frozen=True)
class Total:
    """The field shows the sum of a whole-number column over the bounded list of related rows; 0 where there are none."""

    relation: Relation
    column: str


@dataclass(frozen=True)
class Lookup:
    """A root field that shows the first row a filter finds; `find(viewer, **arguments)` gives the filter, or None for no row."""

    repository: str
    find: Callable[..., Where | None]


@dataclass(frozen=True)
class NodeLookup:
    """A root field that shows the row behind a global id; `find(viewer, **arguments)` gives its type's name and its key."""

    find: Callable[..., tuple[str, Any]]


@dataclass(frozen=True)
class NodesLookup:
    """A root field that shows the rows behind global ids, in their order; `find(context, **arguments)` gives types' names and keys."""

    find: Callable[..., Sequence[tuple[str, Any]]]


Source = Column | GlobalId | Money | Computed | Batched | Total | Relation | Listing | Lookup | NodeLookup | NodesLookup

Reader = Callable[[Viewer, Mapping[str, Any]], Any]
"""Reads coerced arguments as a viewer means them: a `PageRequest` of a list, the filter of a `Lookup`, the places of nodes.

It looks at nothing else, so what it read once holds whenever the same viewer asks the same."""


@dataclass(frozen=True)
class Declared:
    """What one field declares: where its value comes from, who may ask, how its arguments are read, and what it asks of an API key."""

    source: Source
    access: Access | None = None
    read: Reader | None = None
    scope: str | None = None


@dataclass(frozen=True)
class Declarations:
    """The declared fields of a schema by type and name; of each type whose objects are rows, the repository and who may have one by id."""

    fields: Mapping[str, Mapping[str, Declared]] = field(default_factory=dict)
    repositories: Mapping[str, str] = field(default_factory=dict)
    accesses: Mapping[str, Access] = field(default_factory=dict)

    def find(self, type_name: str, field_name: str) -> Declared | None:
        return self.fields.get(type_name, {}).get(field_name)
