"""From a run to HTML, PDF and LaTeX."""
