"""`rar_tf evaluate` as a script: python scripts/evaluate.py --help"""

from rar_tf import cli

if __name__ == "__main__":
    cli.run("evaluate")
