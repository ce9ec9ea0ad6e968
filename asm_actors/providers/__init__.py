"""Where answers come from: the port, and the providers that implement it."""
