"""Compile typst markup to a PDF, as a process of its own: `python -I typeset.py FOLDER < markup > pdf`.

Figures of a run may be somebody else's, and a small picture can unpack to more than the memory. What this
process may take is bounded, whatever it reads. It reads nothing outside the folder.
"""

import contextlib
import sys

import typst

MEMORY = 2 << 30  # bytes; an honest report takes 0.2
SECONDS = 300  # of processor


def main() -> int:
    """Compile; 2 where the markup or a picture is refused, with the reason on standard error."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # elsewhere than on Unix there are no limits
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    markup = sys.stdin.buffer.read()
    fixed = {"root": sys.argv[1], "ignore_system_fonts": True, "timestamp": 0}  # not the time of day
    try:
        try:
            pdf = typst.compile(markup, format="pdf", pdf_standards="ua-1", **fixed)
        except typst.TypstError:  # no font of typst shows a character: then it is merely tagged
            pdf = typst.compile(markup, format="pdf", **fixed)
    except typst.TypstError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    sys.stdout.buffer.write(pdf)
    return 0


if __name__ == "__main__":
    sys.exit(main())
