"""`python -m plainsql`: the same as the command `plainsql`."""

from plainsql.cli.main import main

if __name__ == "__main__":
    main()
