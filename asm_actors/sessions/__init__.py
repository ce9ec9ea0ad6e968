"""Sessions: conversations with their context, each one an actor."""
