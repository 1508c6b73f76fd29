"""Decision rules, one per file, by name; settings of papers are the TOML files in the folder `policies/` at the root.

`load_policy("stream_att-f4")` finds a preset, `load_policy("wait_k", k=5)` a rule with its own defaults, and
`load_policy("my_policy.py:MyPolicy")` a rule of one's own.
"""

from simulst.policies.loading import LoadedPolicy, check_fits, load_policy, parse_value

POLICIES: dict[str, str] = {
    "offline": "simulst.policies.offline:Offline",
    "wait_k": "simulst.policies.wait_k:WaitK",
    "hold_n": "simulst.policies.hold_n:HoldN",
    "local_agreement": "simulst.policies.local_agreement:LocalAgreement",
    "edatt": "simulst.policies.edatt:EDAtt",
    "align_att": "simulst.policies.align_att:AlignAtt",
    "stream_att": "simulst.policies.stream_att:StreamAtt",
    "ralcp": "simulst.policies.ralcp:Ralcp",
    "taf": "simulst.policies.taf:Taf",
    "greedy": "simulst.policies.greedy:Greedy",
    "confidence": "simulst.policies.confidence:Confidence",
    "consensus": "simulst.policies.consensus:Consensus",
    "retranslation": "simulst.policies.retranslation:Retranslation",
    "emma": "simulst.policies.emma:Emma",
    "read_write": "simulst.policies.read_write:ReadAndWrite",
    "gpe_wait_k": "simulst.policies.gpe_wait_k:GpeWaitK",
    "infinite": "simulst.policies.infinite:Infinite",
}

__all__ = ["POLICIES", "LoadedPolicy", "check_fits", "load_policy", "parse_value"]
