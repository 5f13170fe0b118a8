"""`python -m pytest_modelviz` is the command `modelviz`."""

from pytest_modelviz.cli import main

if __name__ == "__main__":
    main(prog_name="modelviz")
