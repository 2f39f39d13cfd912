"""Say what somebody's network is, how good it is, and what to change.

Open a model file of any Keras, find out from labelled training images which output means which expression and
which pixels it expects, measure it on the test images, and say in words what to change. Nothing of the file
is executed. With --game, a game's _get_emotion is read, too, not run. Exit code 0: fine, 1: there are
findings, 2: the file was refused.
"""

import sys
from pathlib import Path
from typing import Any

from fer_tools.console import complain, json_for_terminal, say
from fer_tools.grading import faces


def arguments(parser: Any) -> None:
    """Describe what it takes."""
    parser.add_argument("file", metavar="FILE", help="a .keras or .h5 file")
    faces.add_option(parser)
    parser.add_argument("--game", metavar="FILE.py", help="the game that uses it, with _get_emotion")
    parser.add_argument("--limit", type=int, metavar="N", help="of parameters; default: the assignment's")
    parser.add_argument("--json", action="store_true", help="print JSON")


def action(options: Any) -> int:
    """Print the diagnosis."""
    from fer_lib.models import PARAMETER_LIMIT
    from fer_tools.grading import diagnosis, player, terminal

    data = faces.chosen(options.data)
    limit = PARAMETER_LIMIT if options.limit is None else options.limit
    game = player.read(Path(options.game)) if options.game else None
    found = diagnosis.diagnose(Path(options.file), diagnosis.images(data), limit, game)
    if options.json:
        print(json_for_terminal(found, sys.stdout.encoding or "ascii"))
    elif found["state"] == "refused":
        complain(f"{options.file}: {found['reason']}")
    else:
        for line in terminal.page(found):
            say(line)
    return {"fine": 0, "findings": 1, "refused": 2}[found["state"]]
