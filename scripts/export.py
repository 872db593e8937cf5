"""`rar_tf export` as a script: python scripts/export.py --help"""

from rar_tf import cli

if __name__ == "__main__":
    cli.run("export")
