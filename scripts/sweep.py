"""`rar_tf sweep` as a script: python scripts/sweep.py --help"""

from rar_tf import cli

if __name__ == "__main__":
    cli.run("sweep")
