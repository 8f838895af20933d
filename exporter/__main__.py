"""`python -m exporter` is the command `job-exporter`."""

from exporter.cli.main import main

if __name__ == "__main__":
    main()
