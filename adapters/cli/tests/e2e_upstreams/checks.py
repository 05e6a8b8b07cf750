"""A web service that lets in whom its host vouches for, checked by PyJWT: checks.py JWKS_URL ISSUER AUDIENCE.
Says its port on stdout, and to each caller the claims, or why it is not let in."""

import http.server
import json
import sys

import jwt

keys = jwt.PyJWKClient(sys.argv[1])
issuer, audience = sys.argv[2:4]


class Check(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        names = [name.lower() for name, _ in self.headers.items() if name.lower().replace("_", "-").startswith("homing-")]
        try:
            [token] = self.headers.get_all("Homing-Assertion", [])
            claims = jwt.decode(
                token,
                keys.get_signing_key_from_jwt(token),
                algorithms=["EdDSA"],
                issuer=issuer,
                audience=audience,
                options={"require": ["iss", "aud", "sub", "iat", "exp", "jti"]},
            )
            status, said = 200, {"claims": claims, "token": token, "names": sorted(names)}
        except Exception as error:
            status, said = 401, {"error": f"{type(error).__name__}: {error}"}
        text = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Check)
print('{"event": "port", "port": %d}' % server.server_address[1], flush=True)
server.serve_forever()
