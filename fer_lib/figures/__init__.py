"""One short function a figure, each returning a matplotlib Figure at most 6.3 inches wide; a file a notebook.

No pyplot, hence no state between figures. A class has the same colour everywhere and curves carry their names
at their ends. `style` has what all have in common.
"""
