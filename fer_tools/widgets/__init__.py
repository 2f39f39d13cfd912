"""What is tried by hand in a notebook that somebody has open: controls, a sentence and a picture."""
