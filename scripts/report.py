"""`rar_tf report` as a script: python scripts/report.py --help"""

from rar_tf import cli

if __name__ == "__main__":
    cli.run("report")
