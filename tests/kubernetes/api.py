"""An API server that knows what a test tells it: pods of a node, listed and watched, and the metadata of owners."""

import http.server
import json
import ssl
import subprocess
import threading
import urllib.parse

NAME = "5d3b8a0e-6f0b-4c7e-9a55-0d6c2f1b7a10"


def make_certificates(directory):
    """An authority of its own, and a certificate for this host's loopback."""
    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=test authority",
            "-addext", "keyUsage=critical,keyCertSign")
    openssl("req", *key, "-keyout", "api.key", "-out", "api.csr", "-subj", "/CN=api")
    (directory / "api.ext").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", "api.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "api.ext", "-out", "api.crt")


class Api:
    """May be stopped and started again at the same port; it keeps what it knows."""

    def __init__(self, directory, node, token):
        self.directory, self.node, self.token, self.port = directory, node, token, 0
        self.changes, self.pods, self.objects = [], {}, {}
        self.version, self.changed, self.server, self.is_slow = 100, threading.Condition(), None, False
        self.refused = set()

    def url(self):
        return f"https://127.0.0.1:{self.port}"

    def tell(self, kind, pod):
        with self.changed:
            self.version += 1
            pod = json.loads(json.dumps(pod))
            pod["metadata"]["resourceVersion"] = str(self.version)
            self.pods[pod["metadata"]["uid"]] = pod
            if kind == "DELETED":
                del self.pods[pod["metadata"]["uid"]]
            self.changes.append((self.version, {"type": kind, "object": pod}))
            self.changed.notify_all()

    def start(self):
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                api.answer(self)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / "api.crt", self.directory / "api.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        server, self.server = self.server, None
        server.shutdown()
        server.server_close()
        with self.changed:
            self.changed.notify_all()

    def answer(self, request):
        # A connection that was kept open is the stopped server's.
        serving = request.server
        with self.changed:
            self.changed.wait_for(lambda: not self.is_slow or self.server is not serving)
        path, _, query = request.path.partition("?")
        query = dict(urllib.parse.parse_qsl(query))
        if self.server is not serving:
            request.close_connection = True
        elif request.headers.get("Authorization") != f"Bearer {self.token}":
            self.whole(request, 401, {"kind": "Status", "code": 401})
        elif path in self.refused:
            self.whole(request, 403, {"kind": "Status", "code": 403})
        elif path == "/api/v1/namespaces/kube-system":
            self.whole(request, 200, {"metadata": {"name": "kube-system", "uid": NAME}})
        elif path == "/api/v1/pods" and not query.get("fieldSelector", "").startswith(f"spec.nodeName={self.node},status.phase!="):
            self.whole(request, 403, {"kind": "Status", "code": 403})
        elif path == "/api/v1/pods" and query.get("watch"):
            self.watch(request, serving, int(query["resourceVersion"]))
        elif path == "/api/v1/pods":
            with self.changed:
                items, version = list(self.pods.values()), str(self.version)
            self.whole(request, 200, {"kind": "PodList", "metadata": {"resourceVersion": version}, "items": items})
        elif path in self.objects:
            self.whole(request, 200, {"kind": "PartialObjectMetadata", "metadata": self.objects[path]})
        else:
            self.whole(request, 404, {"kind": "Status", "code": 404})

    def whole(self, request, status, body):
        body = json.dumps(body).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def watch(self, request, serving, version):
        request.close_connection = True
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.flush()
        while True:
            with self.changed:
                fresh = lambda: [change for change in self.changes if change[0] > version]
                self.changed.wait_for(lambda: fresh() or self.server is not serving)
                # Cut off, without an end.
                if self.server is not serving:
                    return
                lines = fresh()
            for version, change in lines:
                line = json.dumps(change).encode() + b"\n"
                request.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                request.wfile.flush()
