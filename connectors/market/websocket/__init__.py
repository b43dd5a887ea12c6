"""Market data from JSON over WebSocket."""
