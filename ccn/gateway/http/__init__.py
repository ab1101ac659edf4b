"""The HTTP door: REST, SSE, WebSocket and the pages people read."""
