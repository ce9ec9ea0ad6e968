"""Capabilities: what a provider can do, and whether that is what a run needs."""
