"""Every record on every topic: msgspec Structs, their topics and the contracts generated from them."""
