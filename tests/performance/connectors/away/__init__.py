"""Every connector in one process while Kafka is away for a long time; a module for each kind of source."""
