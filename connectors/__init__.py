"""What comes in: one package per protocol and what they share. Start with connector.py."""
