"""What traces of the game say: how it was played, and how well expressions were recognised."""
