"""Training at many points of the parameter space, and what came of it."""
