#!/usr/bin/env python3
"""An agent for tests that hands in a structured output: the n-th prompt of a session writes the n-th of the values it was told."""
import json, os, sys

def send(**msg):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **msg}) + "\n")
    sys.stdout.flush()

values = []
for line in sys.stdin:
    m = json.loads(line)
    method, p = m.get("method"), m.get("params") or {}
    if method == "initialize":
        send(id=m["id"], result={"protocolVersion": 1, "agentCapabilities": {}, "authMethods": []})
    elif method == "session/new":
        send(id=m["id"], result={"sessionId": "s-1"})
    elif method == "session/prompt":
        words = "\n".join(b.get("text", "") for b in p["prompt"])
        if words.startswith("["):
            values = json.loads(words.splitlines()[0])
        send(method="session/update", params={"sessionId": "s-1", "update": {
            "sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "prompted with: " + words}}})
        if values:
            with open(os.environ["GANTRY_STRUCTURED_OUTPUT"], "w") as f:
                json.dump(values.pop(0), f)
        send(id=m["id"], result={"stopReason": "end_turn"})
