"""`fer ...`: a file a command, its arguments beside what it does.

A command's file says in its docstring what `fer --help` and `fer COMMAND --help` say of it, in
`arguments(parser)` what it takes, and in `action(options)` what it does; that returns the exit code, where
0 or None is success. Slow imports stand inside the functions, so that `fer --help` is quick.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from fer_lib.files import UsageError
from fer_tools import environment, paths
from fer_tools.commands import (
    bench,
    check,
    check_my_work,
    compare,
    data,
    diagnose,
    export,
    grade,
    list_runs,
    play,
    predict,
    report,
    run,
    summary,
    sweep,
    verify,
)
from fer_tools.console import complain

COMMANDS = {
    "run": run,
    "sweep": sweep,
    "report": report,
    "check": check,
    "check-my-work": check_my_work,
    "verify": verify,
    "compare": compare,
    "list": list_runs,
    "data": data,
    "predict": predict,
    "diagnose": diagnose,
    "grade": grade,
    "export": export,
    "play": play,
    "bench": bench,
    "summary": summary,
}
EPILOGUE = """examples:
  fer run                                   train and evaluate on the bundled faces
  fer run --data fer2013 -p seed=1          the same on FER2013 photographs, another seed
  fer run --resume RUN                      go on with a run that was interrupted
  fer sweep STUDY.yaml                      train at many points, chosen by validation
  fer report                                HTML, PDF and LaTeX of the newest run
  fer list                                  runs side by side
  fer check                                 is everything in the newest run what it wrote, and up to date?
  fer check-my-work                         which exercises are done, what does the report still lack?
  fer predict face.jpg                      which expression?
  fer diagnose model.keras                  what is it, how good, and what to change?
  fer grade FOLDER --roster canvas.csv      a class: a folder or zip a student
  fer play                                  noughts and crosses with your face, in the browser
  fer bench                                 measure speed against plain Keras"""


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    described = argparse.ArgumentParser(
        prog="fer",
        description="Facial expression recognition as coursework that reproduces itself.",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = described.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        summary_line, _, description = (command.__doc__ or name).partition("\n\n")  # python -OO has none
        short = summary_line[0].lower() + summary_line[1:].rstrip(".")
        parser = commands.add_parser(name, help=short, description=description or None)
        command.arguments(parser)
        parser.set_defaults(**({"action": command.action} if hasattr(command, "action") else {}))
    return described


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 is success, 1 and 2 as a command says or a mistake, 130 an interruption."""
    if arguments is None:
        environment.restart_without_settings_of_python()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows few letters gets the others as \xe9
            stream.reconfigure(errors="backslashreplace")
    try:
        options = parser().parse_args(arguments)
        script = Path(sys.argv[0])  # in a copy of a checkout, that of the copied environment
        paths.refuse_other_checkout(".", *([script] if script.name == "fer" else []))
        with environment.of_commands():
            return options.action(options) or 0
    except UsageError as error:
        complain(" ".join(str(error).splitlines()))
        return 2
    except KeyboardInterrupt:
        complain("interrupted; what was finished is kept (fer run --resume RUN)")
        return 130
    except BrokenPipeError:  # for example `fer list | head`
        sys.stderr.close()
        return 0
    except OSError as error:  # what no reader foresaw: a name that is too long, a disk that went away
        complain(f"{error.filename or 'input or output'}: {error.strerror or error}")
        return 2
