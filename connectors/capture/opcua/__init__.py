"""OPC UA recorded and played: within its secure channel, message by message."""
