"""Sessions as steps of somebody's workflow engine."""
