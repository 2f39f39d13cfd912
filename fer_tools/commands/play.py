"""Play noughts and crosses with your face, in the browser.

Serve the page of game/ on this machine only, with a run's network or a shipped one, and open the browser.
Pictures never leave the browser. If a run is given, traces of games can be saved into it.
"""

from typing import Any


def arguments(parser: Any) -> None:
    """Describe what it takes."""
    parser.add_argument(
        "model",
        metavar="RUN",
        nargs="?",
        help="a run, small_model, which is shipped, too, or a .keras file; optimized_model, if not given",
    )
    parser.add_argument("--classes", metavar="A,B,...", help="classes of a .keras file that no run knows")
    parser.add_argument("--scale", metavar="A..B", help="pixels of a .keras file: 0..255, 0..1 or =-1..1")
    parser.add_argument("--port", type=int, default=0, help="of 127.0.0.1; default: any that is free")
    parser.add_argument("--no-browser", action="store_true", help="print the address, and do not open it")


def action(options: Any) -> None:
    """Serve until interrupted."""
    from fer_tools.play import server

    classes = options.classes.split(",") if options.classes is not None else None
    browser = not options.no_browser
    server.play(options.model, classes, options.port, options.scale, browser)
