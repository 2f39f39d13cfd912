"""Say which exercises are done, and what the report still lacks.

Execute your notebooks at their smallest size, in a folder of their own: your runs stay as they are. Of each
exercise say whether it passes its check, without saying the answer; of the newest run, what the assignment
asks for and it does not have. Exit code 1 if anything is missing.
"""

from typing import Any

from fer_lib.files import columns
from fer_tools.console import say


def arguments(parser: Any) -> None:
    """Describe what it takes."""
    which = "such as 2, 02_training or a file of that name; all that have exercises, if not given"
    parser.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help=which)


def action(options: Any) -> int:
    """Print a line an exercise, then what the report lacks; 1 if anything is missing."""
    from fer_tools import paths, pipeline
    from fer_tools.stages import STAGES
    from fer_tools.students import self_check

    paths.checkout("fer check-my-work")
    pipeline.interruptible()
    given = self_check.chosen(options.notebooks)
    if given:
        say(f"executing {', '.join(STAGES[stage].notebook for stage in given)} and what they need ...")
    states = []
    for stage, found in self_check.check(given):
        say(STAGES[stage].notebook)
        for line in columns([(f"  {each.name}", each.state, each.message) for each in found], "<<<"):
            say(line)
        states += [each.state for each in found]
    done = sum(state in self_check.DONE for state in states)
    run, lacking = self_check.missing_of_report()
    say(f"exercises: {done} of {len(states)} done")
    say(f"report{f' of {run}' if run else ''}: {'nothing is missing' if not lacking else 'is missing'}")
    for line in lacking:
        say(f"  {line}")
    return 1 if lacking or done < len(states) else 0
