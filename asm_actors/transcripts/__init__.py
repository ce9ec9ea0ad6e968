"""Transcripts: a session's events as the conversation they tell of."""
