"""Build the companion as a web site: `python -m helpers.site OUT`."""

import argparse
import sys
from pathlib import Path

from helpers.site import build


def main() -> int:
    """Read the command line and build; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.site",
        description="Run the notebooks and build the companion as a web site.",
    )
    parser.add_argument(
        "out", metavar="OUT", type=Path, help="a new folder, or one of an earlier build"
    )
    parser.add_argument(
        "--stored",
        action="store_true",
        help="take the outputs stored in the notebooks and run nothing: a preview in "
        "seconds, in which the explorers stand still",
    )
    args = parser.parse_args()
    try:
        build.site(args.out, stored=args.stored)
    except build.SiteError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
