"""Batch evaluation that can be left alone: it resumes, isolates failures, and runs in several processes or machines."""

from simulst.eval.run.run import ModelLoader as ModelLoader
from simulst.eval.run.run import Result as Result
from simulst.eval.run.run import Settings as Settings
from simulst.eval.run.run import run_evaluation as run_evaluation
from simulst.eval.run.spec import RunSpec as RunSpec

__all__ = ["ModelLoader", "Result", "RunSpec", "Settings", "run_evaluation"]
