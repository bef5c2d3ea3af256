"""An API server that knows what a test tells it: pods, Services and their endpoints, listed and watched, and the metadata of
owners."""

import http.server
import json
import ssl
import subprocess
import threading
import urllib.parse

PODS, SERVICES = "/api/v1/pods", "/api/v1/services"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
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
        self.changes, self.kept, self.objects = [], {PODS: {}, SERVICES: {}, SLICES: {}}, {}
        self.version, self.changed, self.server, self.is_slow = 100, threading.Condition(), None, False
        self.refused = set()

    def url(self):
        return f"https://127.0.0.1:{self.port}"

    def tell(self, kind, thing, path=PODS):
        with self.changed:
            self.version += 1
            thing = json.loads(json.dumps(thing))
            thing["metadata"]["resourceVersion"] = str(self.version)
            self.kept[path][thing["metadata"]["uid"]] = thing
            if kind == "DELETED":
                del self.kept[path][thing["metadata"]["uid"]]
            self.changes.append((self.version, path, {"type": kind, "object": thing}))
            self.changed.notify_all()

    def selects(self, path, selector):
        """Whether an object is asked for: pods are asked for by node, or all that run."""
        running = "status.phase!=Succeeded,status.phase!=Failed"
        if path != PODS:
            return (lambda _: True) if not selector else None
        if selector == running:
            return lambda _: True
        of_node = lambda pod: pod["spec"]["nodeName"] == self.node
        return of_node if selector == f"spec.nodeName={self.node},{running}" else None

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
        elif path in self.kept and not self.selects(path, query.get("fieldSelector", "")):
            self.whole(request, 403, {"kind": "Status", "code": 403})
        elif path in self.kept:
            is_asked = self.selects(path, query.get("fieldSelector", ""))
            if query.get("watch"):
                return self.watch(request, serving, int(query["resourceVersion"]), path, is_asked)
            with self.changed:
                items, version = list(filter(is_asked, self.kept[path].values())), str(self.version)
            self.whole(request, 200, {"kind": "List", "metadata": {"resourceVersion": version}, "items": items})
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

    def watch(self, request, serving, version, path, is_asked):
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
            for version, of, change in lines:
                if of != path or not is_asked(change["object"]):
                    continue
                line = json.dumps(change).encode() + b"\n"
                request.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                request.wfile.flush()
