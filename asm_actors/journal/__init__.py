"""The journal: the append-only, ordered, durable record of everything that happened."""
