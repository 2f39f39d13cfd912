"""Is this copy of FER2013 the published one? Digests of it, and the verdict."""
