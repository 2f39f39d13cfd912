"""A training that does over-fit, which notebook 03 shows beside the run's own."""
