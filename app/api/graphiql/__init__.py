"""The pages that the gateway serves to browsers, built by ``make graphiql``: GraphiQL at ``/graphql``, store insight at ``/insight``."""

from app.api.graphiql.insight import InsightPage, insight_documents
from app.api.graphiql.page import GraphiQLPage

__all__ = ["GraphiQLPage", "InsightPage", "insight_documents"]
