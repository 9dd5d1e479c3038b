#!/usr/bin/env python3
"""A small ACP agent for tests: the standard library and the protocol's own words, nothing of ours."""
import json, os, queue, sys, threading

out_lock, answers, cancelled, turn = threading.Lock(), {}, threading.Event(), threading.Lock()

def send(**msg):
    with out_lock:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **msg}) + "\n")
        sys.stdout.flush()

def update(session, what, **fields):
    send(method="session/update", params={"sessionId": session, "update": {"sessionUpdate": what, **fields}})

def text(s):
    return {"type": "text", "text": s}

def ask(session):
    answers["ask-1"] = queue.Queue()
    send(id="ask-1", method="session/request_permission", params={
        "sessionId": session, "toolCall": {"toolCallId": "call-2", "title": "Remove everything"},
        "options": [{"optionId": "yes", "name": "Allow", "kind": "allow_once"}, {"optionId": "no", "name": "Reject", "kind": "reject_once"}]})
    return answers["ask-1"].get()["result"]["outcome"]

def prompt(id, session, cwd, words):
    cancelled.clear()
    update(session, "plan", entries=[{"content": "Look", "priority": "high", "status": "in_progress"}])
    update(session, "agent_thought_chunk", content=text("Hm."))
    for piece in ("I heard: ", words, "."):
        update(session, "agent_message_chunk", content=text(piece))
    marker = os.path.join(os.environ["HOME"], "crashed")
    if "crash" in words and not os.path.exists(marker):
        open(marker, "w").close()
        os._exit(3)
    if "silent" in words:
        cancelled.wait()
    if "permission" in words:
        update(session, "agent_message_chunk", content=text("The answer is " + json.dumps(ask(session))))
    update(session, "tool_call", toolCallId="call-1", title="Write hello.txt", kind="edit", locations=[{"path": cwd + "/hello.txt"}])
    if not cancelled.is_set():
        with open(os.path.join(cwd, "hello.txt"), "w") as f:
            f.write("hello from the agent\n")
    update(session, "tool_call_update", toolCallId="call-1", status="completed",
           content=[{"type": "diff", "path": cwd + "/hello.txt", "oldText": None, "newText": "hello from the agent\n"}])
    send(id=id, result={"stopReason": "cancelled" if cancelled.is_set() else "end_turn"})

sessions = {}
for line in sys.stdin:
    m = json.loads(line)
    method, p = m.get("method"), m.get("params") or {}
    if method is None:
        answers[m["id"]].put(m)
    elif method == "initialize":
        send(id=m["id"], result={"protocolVersion": 1, "agentCapabilities": {"loadSession": True}, "authMethods": []})
    elif method == "session/new":
        sessions["s-1"] = p["cwd"]
        send(id=m["id"], result={"sessionId": "s-1"})
    elif method == "session/load":
        sessions[p["sessionId"]] = p["cwd"]
        update(p["sessionId"], "agent_message_chunk", content=text("an old message"))
        send(id=m["id"], result=None)
    elif method == "session/prompt":
        words = " ".join(b.get("text", "") for b in p["prompt"])
        threading.Thread(target=prompt, args=(m["id"], p["sessionId"], sessions[p["sessionId"]], words), daemon=True).start()
    elif method == "session/cancel":
        cancelled.set()
    elif "id" in m:
        send(id=m["id"], error={"code": -32601, "message": "Method not found"})
