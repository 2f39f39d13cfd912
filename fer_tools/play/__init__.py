"""The game that is played by face: its page served on this machine, and the traces that it writes."""
