"""The wheel holds the library, its presets and its page, and works away from the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_wheel_is_complete_and_clean(tmp_path: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    for name in tracked.stdout.decode().split("\0"):
        if name.startswith(("simulst/", "policies/")) or name in (
            "LICENSE",
            "MANIFEST.in",
            "README.md",
            "pyproject.toml",
            "setup.py",
        ):
            target = tmp_path / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        "wheel",
        "./source",
    ]
    subprocess.run(command, cwd=tmp_path, check=True)
    (wheel,) = (tmp_path / "wheel").glob("simulst-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "installed")
    assert {name.split("/")[0] for name in names} <= {"simulst", *(n.split("/")[0] for n in names if ".dist-info" in n)}
    assert {"simulst/py.typed", "simulst/policies/presets/stream_att-f4.toml"} <= set(names)
    check = (
        "import sys; sys.path.insert(0, sys.argv[1]); import simulst; from simulst.policies import load_policy; "
        "assert simulst.__file__.startswith(sys.argv[1]); print(load_policy('stream_att-f4').policy.f)"
    )
    installed = str(tmp_path / "installed")
    done = subprocess.run([sys.executable, "-I", "-c", check, installed], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "4\n", done.stderr
