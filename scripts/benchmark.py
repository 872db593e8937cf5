"""`rar_tf benchmark` as a script: python scripts/benchmark.py --help"""

from rar_tf import cli

if __name__ == "__main__":
    cli.run("benchmark")
