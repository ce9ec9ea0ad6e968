"""Policies: what a run may do and spend, who is asked about the rest, and what follows when it is exceeded."""
