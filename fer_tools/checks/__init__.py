"""Is a run what it says it is? `check` compares digests, `verify` executes again, `compare` takes several."""
