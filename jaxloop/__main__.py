"""`python -m jaxloop` is the `jaxloop` command."""

from jaxloop.cli import main

if __name__ == "__main__":
    main()
