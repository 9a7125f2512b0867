"""`python -m edgecnn` is the `edgecnn` command."""

from edgecnn.cli import main

if __name__ == "__main__":
    main()
