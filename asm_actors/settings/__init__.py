"""The configuration of a system: one validated value, from a file, the environment and the caller."""
