"""One static folder of what the course shows: notebooks, report, promises, reference, and the game."""
