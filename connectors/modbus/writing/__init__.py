"""Values written to devices: by ``gridtape modbus write`` only, never by the connector that polls."""
