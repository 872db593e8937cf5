"""`rar_tf reproduce` as a script: python scripts/reproduce.py --help"""

from rar_tf import cli

if __name__ == "__main__":
    cli.run("reproduce")
