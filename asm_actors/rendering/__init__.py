"""Rendering: events as text for people, and where that text goes."""
