"""`python -m coeval` is the `coeval` command."""

from coeval.cli import main

if __name__ == "__main__":
    main()
