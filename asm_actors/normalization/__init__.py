"""Normalization: from what providers report in their own ways to one common form."""
