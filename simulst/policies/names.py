"""The decision rules by name; a rule of one's own is named as `file.py:Class` and needs no line here."""

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
    "blockwise_beam": "simulst.policies.blockwise_beam:BlockwiseBeam",
    "streamuni": "simulst.policies.streamuni:StreamUni",
    "infinite": "simulst.policies.infinite:Infinite",
    "joint": "simulst.policies.joint:Joint",
}
