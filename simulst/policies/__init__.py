"""Decision rules, one per file, by name; settings of papers are the TOML files in the folder `policies/` at the root.

`load_policy("stream_att-f4")` finds a preset, `load_policy("wait_k", k=5)` a rule with its own defaults, and
`load_policy("my_policy.py:MyPolicy")` a rule of one's own.
"""

from simulst.policies.loading import LoadedPolicy, check_fits, load_policy, parse_value

POLICIES: dict[str, str] = {
    "offline": "simulst.policies.offline:Offline",
    "wait_k": "simulst.policies.wait_k:WaitK",
    "align_att": "simulst.policies.align_att:AlignAtt",
    "stream_att": "simulst.policies.stream_att:StreamAtt",
}

__all__ = ["POLICIES", "LoadedPolicy", "check_fits", "load_policy", "parse_value"]
