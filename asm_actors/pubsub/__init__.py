"""Publish/subscribe: events by topic, from this system's journal and into brokers of others."""
