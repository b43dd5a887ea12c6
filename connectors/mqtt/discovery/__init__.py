"""What a broker's devices publish: heard for a while, understood as far as it can be, and written as settings."""
