"""Settings of the whole test run: no windows, and property tests that do the same on every machine."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")
# Notebook kernels: no debugger warnings about frozen modules, the new folder layout of jupyter_core.
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")

# HYPOTHESIS_PROFILE=explore looks for new examples, at random; the default repeats the same ones.
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.register_profile("explore", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
