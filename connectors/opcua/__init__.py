"""OPC UA in."""
