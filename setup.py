"""Copies into the wheel what lies at the root of the repository, each to where the package looks for it when installed:
presets (`simulst.policies.loading`); the talk, the test set, recipes and plug-ins to start from (`simulst.bundled`)."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

COPIED = {
    "policies/*.toml": "policies/presets",
    "eval/*.toml": "share/eval",
    "examples/talk.*": "share/examples",
    "examples/my_*.py": "share/examples",
    "examples/corpus/**/*": "share/examples",
}
"""Files of the repository -> folder in the package, in which they keep the folders they had below the first one."""


class BuildWithBundled(build_py):
    def run(self):
        super().run()
        if self.editable_mode:
            return
        root, package = Path(__file__).parent, Path(self.build_lib, "simulst")
        for pattern, folder in COPIED.items():
            for path in sorted(path for path in root.glob(pattern) if path.is_file()):
                target = package / folder / path.relative_to(root / pattern.split("/")[0])
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)


setup(cmdclass={"build_py": BuildWithBundled})
