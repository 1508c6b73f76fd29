"""Decision rules, one per file, by name; settings of papers are the TOML files in the folder `policies/` at the root.

`load_policy("stream_att-f4")` finds a preset, `load_policy("wait_k", k=5)` a rule with its own defaults, and
`load_policy("my_policy.py:MyPolicy")` a rule of one's own.
"""

from simulst.core.loaded import LoadedPolicy, check_fits
from simulst.core.settings import parse_value
from simulst.policies.loading import load_policy
from simulst.policies.names import POLICIES

__all__ = ["POLICIES", "LoadedPolicy", "check_fits", "load_policy", "parse_value"]
