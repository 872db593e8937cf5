"""The wheel takes the flag files along, from the one place where they lie; everything else is in setup.cfg."""

import os
import pathlib
import re
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = pathlib.Path(__file__).resolve().parent


class WithFlagFiles(build_py):
    """Copy flags/ to rar_tf/flags in what is built; an editable install reads them where they are."""

    def run(self):
        super().run()
        if not self.editable_mode:
            target = pathlib.Path(self.build_lib, "rar_tf", "flags")
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(ROOT / "flags", target, ignore=shutil.ignore_patterns("*.py", "__pycache__"))


def description(home: str) -> str:
    """Return the README, its relative links made absolute where the project's address is known."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if not home:
        return text
    text = re.sub(r"(!\[[^\]]*\]\()(?!https?:|#)", rf"\1{home}/raw/main/", text)
    return re.sub(r"(?<!!)(\[[^\]]*\]\()(?!https?:|#)", rf"\1{home}/blob/main/", text)


HOME = os.environ.get("RAR_TF_HOME", "").rstrip("/")

setup(
    cmdclass={"build_py": WithFlagFiles},
    long_description=description(HOME),
    **({"url": HOME, "project_urls": {"Changelog": f"{HOME}/blob/main/CHANGELOG.md"}} if HOME else {}),
)
