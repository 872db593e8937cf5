"""python -m rar_tf: the same as the console command `rar_tf`."""

from rar_tf import cli

if __name__ == "__main__":
    cli.main()
