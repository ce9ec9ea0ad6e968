"""Tools for testing what is built on this package; they need no test framework."""
