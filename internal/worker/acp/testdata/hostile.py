#!/usr/bin/env python3
"""An agent that tries what an agent must not get away with. The prompt says what; the answers it gets are told in messages."""
import json, sys

def send(**msg):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **msg}) + "\n")
    sys.stdout.flush()

def say(session, s):
    send(method="session/update", params={"sessionId": session, "update": {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": s}}})

def call(method, params):
    """Sends a request and waits for its answer, whatever else comes in between."""
    send(id="x", method=method, params=params)
    for line in sys.stdin:
        m = json.loads(line)
        if m.get("id") == "x":
            return m.get("error", {}).get("code") or m.get("result")

def prompt(id, s, words):
    if "junk" in words:
        print("DEBUG: starting up\n\n{broken\n[1, 2]\n\"text\"\n{}\n{\"id\": {\"a\": 1}, \"method\": \"x\"}", flush=True)
        sys.stdout.buffer.write(b"\xff\xfe\x00 not text\n")
    if "long" in words:
        say(s, "x" * (20 << 20))
    if "endless" in words:
        while True:
            sys.stdout.write("y" * (1 << 20))
    if "flood" in words:
        while True:
            print("no json here", flush=True)
    if "wrong ids" in words:
        send(id=424242, result={"stopReason": "end_turn"})
        send(id=str(id), result={"stopReason": "refusal"})
        send(id=None, result={})
    if "files" in words:
        for path in ("/etc/passwd", "../../x"):
            say(s, "read %s: %s" % (path, call("fs/read_text_file", {"sessionId": s, "path": path})))
        say(s, "foreign: %s" % call("fs/read_text_file", {"sessionId": "other", "path": "/work/a"}))
        say(s, "shapeless: %s" % call("fs/write_text_file", {"sessionId": s, "path": 7}))
        say(s, "unknown: %s" % call("fs/delete_everything", {"sessionId": s}))
    if "foreign" in words:
        say("somebody-else", "you should not see this")
        send(method="session/update", params={"sessionId": s, "update": "no object"})
        send(method="session/update", params=[1])
        send(method="session/update", params={"sessionId": s, "update": {"sessionUpdate": "from_the_future", "x": 1}})
        send(method="_other/thing", params={"a": 1})
        send(method="_gantry/structured_output", params={"sessionId": "somebody-else", "value": {}})
    if "many" in words:
        for i in range(20000):
            say(s, "%d " % i)
    if "greedy" in words:
        for i in range(2000):
            send(id=i, method="_gantry/barrier", params={"sessionId": s})
    send(id=id, result={"stopReason": "end_turn"})

for line in sys.stdin:
    m = json.loads(line)
    if m.get("method") == "initialize":
        send(id=m["id"], result={"protocolVersion": 1, "agentCapabilities": {}, "authMethods": [{"id": "key", "name": "Key"}]})
    elif m.get("method") == "authenticate":
        known = m["params"]["methodId"] == "key"
        send(id=m["id"], result={})
    elif m.get("method") == "session/new":
        if "known" in globals():
            send(id=m["id"], result={"sessionId": "s"})
        else:
            send(id=m["id"], error={"code": -32000, "message": "Authentication required"})
    elif m.get("method") == "session/prompt":
        prompt(m["id"], m["params"]["sessionId"], m["params"]["prompt"][0]["text"])
