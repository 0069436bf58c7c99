"""The base of every repository: the common operations, row scope, and statements compiled once per shape.

A repository is bound to a session (pool or transaction) and a viewer. Every statement carries the viewer's scope and skips soft-deleted
rows, so ownership cannot be forgotten; a row outside the scope does not exist. Filters can narrow a scope and never widen it.
"""

from app.core.repository.listing import ListQuery, ListShape
from app.core.repository.reading import Reading
from app.core.repository.scoped import M
from app.core.repository.transactions import transactional
from app.core.repository.values import as_values
from app.core.repository.writing import Writing

__all__ = ["ListQuery", "ListShape", "M", "Repository", "as_values", "transactional"]


class Repository(Reading[M], Writing[M]):
    """Reads and writes the rows of one model."""
