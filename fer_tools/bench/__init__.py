"""How long training and prediction take, against plain Keras."""
