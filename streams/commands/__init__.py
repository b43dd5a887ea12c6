"""What the gridtape command does, one module per command; streams/cli.py puts them together."""
