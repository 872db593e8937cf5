"""`rar_tf train` as a script: python scripts/train.py --help"""

from rar_tf import cli

if __name__ == "__main__":
    cli.run("train")
