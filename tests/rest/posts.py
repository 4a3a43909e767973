"""Holds an OpenAPI 3.1 document against the standard, and the posts of webhooks (a file, one JSON object a line) against the document.

python posts.py DOCUMENT POSTS
"""

import json
import sys

import jsonschema_rs
import openapi_spec_validator

with open(sys.argv[1], encoding="utf-8") as file:
    document = json.load(file)
openapi_spec_validator.validate(document)

# What the posts of each family hold.
HELD = {"dossier": "Delivery", "request": "RequestOutcome", "webhook": "WebhookTestEvent"}

types = {}
for line in open(sys.argv[2], encoding="utf-8"):
    headers, event = (json.loads(line)[part] for part in ("headers", "event"))
    operation = document["webhooks"][event["type"]]["post"]
    content = operation["requestBody"]["content"]
    assert headers["content-type"] in content, headers["content-type"]
    schema = {"components": document["components"], "allOf": [content[headers["content-type"]]["schema"]]}
    jsonschema_rs.Draft202012Validator(schema).validate(event)
    # What is not described is not there either.
    for part, name in ((event, "CloudEvent"), (event["data"], HELD.get(event["type"].split(".")[2]))):
        undescribed = set(part) - set(document["components"]["schemas"][name]["properties"])
        assert not undescribed, f"{name} does not describe {undescribed}"
    for parameter in operation["parameters"]:
        name = parameter["name"]
        assert name in headers or not parameter["required"], name
    types[event["type"]] = types.get(event["type"], 0) + 1

print(json.dumps(types))
