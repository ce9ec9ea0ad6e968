"""The runtime's own cases: one function per bench, through the same doors that its users take."""
