"""Keeping a journal small and sound: retention, deletion, artifacts, export and import."""
