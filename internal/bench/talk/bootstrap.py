"""Asks Lambda's runtime API for events and hands them to the handler: less than
what AWS's own runtime for Python does."""

import http.client
import json
import os

import handler

runtime = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    runtime.request("GET", "/2018-06-01/runtime/invocation/next")
    response = runtime.getresponse()
    event = json.loads(response.read())
    handler.handle(event)
    path = "/2018-06-01/runtime/invocation/" + response.headers["Lambda-Runtime-Aws-Request-Id"]
    runtime.request("POST", path + "/response", "null")
    runtime.getresponse().read()
