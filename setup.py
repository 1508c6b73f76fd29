"""Copies the presets of the folder policies/ into the wheel, where `simulst.policies` finds them."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithPresets(build_py):
    def run(self):
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, "simulst", "policies", "presets")
        target.mkdir(parents=True, exist_ok=True)
        for preset in sorted(Path(__file__).parent.joinpath("policies").glob("*.toml")):
            shutil.copy(preset, target)


setup(cmdclass={"build_py": BuildWithPresets})
