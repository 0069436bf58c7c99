"""Subscriptions: connections that stay open, over WebSocket (graphql-transport-ws) and server-sent events (graphql-sse)."""
