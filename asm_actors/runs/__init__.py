"""Runs: single executions inside a session, from input to outcome."""
