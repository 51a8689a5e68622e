"""`python -m pinnace` is `pinnace`."""

from pinnace.cli import main

if __name__ == "__main__":
    main(prog_name="pinnace")
