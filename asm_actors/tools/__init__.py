"""Tools of the host: Python functions that a model may call."""
