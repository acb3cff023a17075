"""`python -m analysis COMMAND`: the same as `swag COMMAND`."""

from analysis.cli import main

if __name__ == "__main__":
    main()
