"""Programs that do the benches' work without the runtime, to compare it with."""
