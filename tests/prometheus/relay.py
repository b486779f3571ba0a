"""Forwards scrapes to the exporter and records them: DIR.json counts the responses by form and contains the headers of the
last one, DIR.body is its body, byte by byte. With --plain it requests the classic text format without compression, which
not every version of Prometheus can be configured to do."""

import http.client
import http.server
import json
import os
import sys
import threading

UPSTREAM, KEEP = sys.argv[1], sys.argv[2]
PLAIN = "--plain" in sys.argv[3:]
HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
LOCK = threading.Lock()
FORMS = {}


def record(body, exchange):
    """Replaces the files atomically, because they may be read at any time."""
    for name, data in ((f"{KEEP}.body", body), (f"{KEEP}.json", json.dumps(exchange).encode())):
        with open(f"{name}.new", "wb") as out:
            out.write(data)
        os.replace(f"{name}.new", name)


class Relay(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        request = {k: v for k, v in self.headers.items() if k.lower() not in HOP}
        if PLAIN:
            request = {k: v for k, v in request.items() if k.lower() not in ("accept", "accept-encoding")}
            request.update({"Accept": "text/plain;version=0.0.4", "Accept-Encoding": "identity"})
        upstream = http.client.HTTPConnection(UPSTREAM, timeout=10)
        upstream.putrequest("GET", self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in request.items():
            upstream.putheader(name, value)
        upstream.endheaders()
        response = upstream.getresponse()
        body = response.read()
        upstream.close()
        forwarded = [(k, v) for k, v in response.getheaders() if k.lower() not in HOP]
        headers = {k.lower(): v for k, v in forwarded}
        form = f"{response.status} {headers.get('content-encoding', 'identity')} {headers.get('content-type')}"
        with LOCK:
            FORMS[form] = FORMS.get(form, 0) + 1
            record(body, {"forms": FORMS, "request": {k.lower(): v for k, v in request.items()}, "response": headers})
        self.send_response(response.status)
        for name, value in forwarded:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Relay)
print("listening on %s:%d" % server.server_address, flush=True)
server.serve_forever()
