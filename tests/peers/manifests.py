"""Checks manifests against the schemas of Kubernetes, unknown members included; prints them as JSON."""

import json
import sys

import kubernetes_validate
import yaml

VERSIONS = ["1.31", "1.34", kubernetes_validate.latest_version()]
found = []
for path in sys.argv[1:]:
    with open(path) as file:
        documents = list(yaml.safe_load_all(file))
    assert documents, path
    for document in documents:
        if document["kind"] != "Kustomization":  # of kubectl, and not of the API
            for version in VERSIONS:
                kubernetes_validate.validate(document, version, strict=True)
        found.append(document)
print(json.dumps(found))
