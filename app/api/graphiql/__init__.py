"""GraphiQL, the page that a browser gets at ``/graphql``: its sources, built by ``make graphiql``, and what serves the result."""

from app.api.graphiql.page import GraphiQLPage

__all__ = ["GraphiQLPage"]
