"""`rar_tf certify` as a script: python scripts/certify.py --help"""

from rar_tf import cli

if __name__ == "__main__":
    cli.run("certify")
