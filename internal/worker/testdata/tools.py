#!/usr/bin/env python3
"""An agent for tests that has the worker read and write files and run a command for it, and tells what it was answered."""
import json, sys

def send(**msg):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **msg}) + "\n")
    sys.stdout.flush()

def update(**fields):
    send(method="session/update", params={"sessionId": "s-1", "update": fields})

def call(method, **params):
    send(id="c", method=method, params={"sessionId": "s-1", **params})
    for line in sys.stdin:
        m = json.loads(line)
        if m.get("id") == "c":
            return m.get("result", m.get("error"))

def say(s):
    update(sessionUpdate="agent_message_chunk", content={"type": "text", "text": s + "\n"})

def prompt():
    say("write: %s" % call("fs/write_text_file", path="/work/dir/a.txt", content="one\ntwo\nthree\n"))
    say("read: %s" % call("fs/read_text_file", path="/work/dir/a.txt", line=2, limit=1))
    say("outside: %s" % call("fs/read_text_file", path="/etc/hostname"))
    term = call("terminal/create", command="/bin/sh", args=["-c", "echo $WORD; sleep 0.1; echo zwölf; exit 4"],
                env=[{"name": "WORD", "value": "hello"}], cwd="/work/dir")["terminalId"]
    update(sessionUpdate="tool_call", toolCallId="t-1", title="run", status="in_progress", content=[{"type": "terminal", "terminalId": term}])
    say("exit: %s" % json.dumps(call("terminal/wait_for_exit", terminalId=term)))
    say("output: %s" % json.dumps(call("terminal/output", terminalId=term)))
    call("terminal/release", terminalId=term)
    say("released: %s" % json.dumps(call("terminal/output", terminalId=term)))
    update(sessionUpdate="tool_call_update", toolCallId="t-1", status="completed")

for line in sys.stdin:
    m = json.loads(line)
    method = m.get("method")
    if method == "initialize":
        send(id=m["id"], result={"protocolVersion": 1, "agentCapabilities": {}, "authMethods": []})
    elif method == "session/new":
        send(id=m["id"], result={"sessionId": "s-1"})
    elif method == "session/prompt":
        prompt()
        send(id=m["id"], result={"stopReason": "end_turn"})
