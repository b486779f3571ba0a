"""Hands scrapes on to the exporter and keeps what crossed: DIR.json counts the answers by form and holds the headers
of the last exchange, DIR.body is its body, byte by byte. With --plain the answer is asked for uncompressed, in the
classic text format, which Prometheus itself cannot be told to do in every version."""

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


def keep(body, kept):
    """Whole files only: the reader may look at any time."""
    for name, data in ((f"{KEEP}.body", body), (f"{KEEP}.json", json.dumps(kept).encode())):
        with open(f"{name}.new", "wb") as out:
            out.write(data)
        os.replace(f"{name}.new", name)


class Relay(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        asked = {k: v for k, v in self.headers.items() if k.lower() not in HOP}
        if PLAIN:
            asked = {k: v for k, v in asked.items() if k.lower() not in ("accept", "accept-encoding")}
            asked.update({"Accept": "text/plain;version=0.0.4", "Accept-Encoding": "identity"})
        upstream = http.client.HTTPConnection(UPSTREAM, timeout=10)
        upstream.putrequest("GET", self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in asked.items():
            upstream.putheader(name, value)
        upstream.endheaders()
        answer = upstream.getresponse()
        body = answer.read()
        upstream.close()
        told = [(k, v) for k, v in answer.getheaders() if k.lower() not in HOP]
        headers = {k.lower(): v for k, v in told}
        form = f"{answer.status} {headers.get('content-encoding', 'identity')} {headers.get('content-type')}"
        with LOCK:
            FORMS[form] = FORMS.get(form, 0) + 1
            keep(body, {"forms": FORMS, "asked": {k.lower(): v for k, v in asked.items()}, "answered": headers})
        self.send_response(answer.status)
        for name, value in told:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Relay)
print("listening on %s:%d" % server.server_address, flush=True)
server.serve_forever()
