"""Calls SimulEval's command line once per list of arguments on stdin; a fresh process for each would take minutes."""

import json
import sys

import simuleval.cli
from simuleval.utils import EVALUATION_SYSTEM_LIST

for arguments in json.load(sys.stdin):
    EVALUATION_SYSTEM_LIST.clear()
    sys.argv = ["simuleval", *arguments]
    simuleval.cli.main()
