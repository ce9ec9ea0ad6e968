"""Workspaces: the files that runs work on, and the commands that work on them."""
