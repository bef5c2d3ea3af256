"""A model API on loopback that has an agent call tools, then says that it is done.

It speaks as much of the streaming APIs of Anthropic, Google and OpenAI as the command lines of Claude Code, Gemini CLI and
Codex ask for.

usage: fake_model.py PORT COMMAND PATH    a shell command for the agent's shell tool, a path for its MCP server to read
"""

import http.server
import json
import sys

PORT, COMMAND, PATH = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def anthropic(asked):
    """The next call that was not answered yet, of the tools that there are."""
    parts = [part for message in asked.get("messages", []) if isinstance(message["content"], list) for part in message["content"]]
    answered = sum(part.get("type") == "tool_result" for part in parts)
    tools = [tool.get("name") for tool in asked.get("tools", [])]
    calls = [("Bash", {"command": COMMAND, "description": "look"}), ("mcp__files__read_text_file", {"path": PATH})]
    calls = [call for call in calls if call[0] in tools]
    if answered < len(calls):
        name, arguments = calls[answered]
        block = {"type": "tool_use", "id": f"toolu_{answered}", "name": name, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
        reason = "tool_use"
    else:
        block, delta, reason = {"type": "text", "text": ""}, {"type": "text_delta", "text": "done"}, "end_turn"
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": asked.get("model", "m"), "content": [],
               "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
    if not asked.get("stream"):
        return dict(message, content=[{"type": "text", "text": "done"}], stop_reason="end_turn")
    return [
        ("message_start", {"message": message}),
        ("content_block_start", {"index": 0, "content_block": block}),
        ("content_block_delta", {"index": 0, "delta": delta}),
        ("content_block_stop", {"index": 0}),
        ("message_delta", {"delta": {"stop_reason": reason, "stop_sequence": None}, "usage": {"output_tokens": 1}}),
        ("message_stop", {}),
    ]


def openai(asked):
    """Codex has its tools called by JavaScript, in a tool named exec."""
    answered = any(str(item.get("type")).endswith("_output") for item in asked.get("input", []) if isinstance(item, dict))
    if answered:
        item = {"type": "message", "id": "m_1", "role": "assistant",
                "content": [{"type": "output_text", "text": "done", "annotations": []}]}
    else:
        script = f"text(await tools.exec_command({json.dumps({'cmd': COMMAND})}))"
        item = {"type": "custom_tool_call", "id": "ct_1", "call_id": "call_1", "name": "exec", "input": script}
    base = {"id": "resp_1", "object": "response", "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2,
            "input_tokens_details": None, "output_tokens_details": None}}
    return [
        ("response.created", {"response": dict(base, status="in_progress")}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": dict(base, status="completed", output=[item])}),
    ]


def google(asked):
    parts = [part for content in asked.get("contents", []) for part in content.get("parts", [])]
    tools = [tool["name"] for tools in asked.get("tools", []) for tool in tools.get("functionDeclarations", [])]
    if "run_shell_command" in tools and not any("functionResponse" in part for part in parts):
        part = {"functionCall": {"name": "run_shell_command", "args": {"command": COMMAND, "description": "look"}}}
    else:
        part = {"text": "done"}
    return {"candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [part]}}],
            "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, kind, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self):
        self.answer("application/json", "")

    def do_GET(self):
        self.answer("application/json", "{}")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            asked = json.loads(body)
        except ValueError:
            asked = {}
        if "enerateContent" in self.path:
            reply = json.dumps(google(asked))
            if "stream" in self.path:
                return self.answer("text/event-stream", f"data: {reply}\r\n\r\n")
            return self.answer("application/json", reply)
        if "/responses" in self.path:
            reply = openai(asked)
        elif "/messages" in self.path and "count_tokens" not in self.path:
            reply = anthropic(asked)
        else:
            reply = {"input_tokens": 1}
        if isinstance(reply, dict):
            return self.answer("application/json", json.dumps(reply))
        events = (f"event: {name}\ndata: {json.dumps(dict(data, type=name))}\n\n" for name, data in reply)
        return self.answer("text/event-stream", "".join(events))


server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
print("listens", flush=True)
server.serve_forever()
