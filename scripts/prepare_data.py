"""`rar_tf prepare_data` as a script: python scripts/prepare_data.py --help"""

from rar_tf import cli

if __name__ == "__main__":
    cli.run("prepare_data")
