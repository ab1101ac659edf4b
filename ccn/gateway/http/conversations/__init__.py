"""Conversations over HTTP: REST, server-sent events, WebSocket, and what is measured of them."""
