"""Reads an exposition with the Prometheus client's own parser; says how much it has understood."""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

TYPES = {"counter", "gauge", "histogram"}
families = list(text_string_to_metric_families(sys.stdin.read()))
samples = [sample for family in families for sample in family.samples]
series = {(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples}
assert len(series) == len(samples), "a series is there twice"
for family in families:
    assert family.type in TYPES, f"{family.name}: {family.type}"
    assert family.documentation, family.name
    if family.type != "histogram":
        continue
    buckets = {}
    for sample in family.samples:
        if sample.name.endswith("_bucket"):
            labels = {k: v for k, v in sample.labels.items() if k != "le"}
            key = tuple(sorted(labels.items()))
            buckets.setdefault(key, []).append((float(sample.labels["le"]), sample.value))
    for key, found in buckets.items():
        assert found == sorted(found), f"{family.name} {key}: buckets out of order"
        counts = [count for _, count in found]
        assert counts == sorted(counts), f"{family.name} {key}: a bucket holds less than the one before"
        assert found[-1][0] == float("inf"), f"{family.name} {key}: no last bucket"
        whole = [s.value for s in family.samples if s.name.endswith("_count") and tuple(sorted(s.labels.items())) == key]
        assert whole == [counts[-1]], f"{family.name} {key}: the count is not that of the last bucket"
calls = sum(
    sample.value
    for sample in samples
    if sample.name == "cortex_requests_total" and sample.labels["method"] == "tools/call"
)
print(json.dumps({"families": len(families), "samples": len(samples), "calls": calls}))
