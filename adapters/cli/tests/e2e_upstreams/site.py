"""A web server over TLS that shows the head of each request: site.py CHAIN KEY. Says its port on stdout."""

import http.server
import ssl
import sys


class Show(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        text = f"sni: {self.connection.context.asked}\n{self.headers}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
context.asked = None


def asked(_socket, name, _context):
    context.asked = name


context.sni_callback = asked
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Show)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print('{"event": "port", "port": %d}' % server.server_address[1], flush=True)
server.serve_forever()
