"""`python -m app` is the command line interface."""

from app.cli import main

main()
