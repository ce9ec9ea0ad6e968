"""Telemetry and audit: spans, metrics and audit records, made of the journal's own events."""
