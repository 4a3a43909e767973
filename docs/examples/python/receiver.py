import base64, hmac, http.server, json, sys, time

secrets, port, seen = sys.argv[1], int(sys.argv[2]), set()

def is_genuine(headers, body):
    name, sent = headers["webhook-id"] or "", headers["webhook-timestamp"] or ""
    if not sent.isdigit() or abs(time.time() - int(sent)) > 300:
        return False
    keys = [line.strip() for line in open(secrets) if line.startswith("whsec_")]
    digests = [hmac.digest(base64.b64decode(key[6:]), f"{name}.{sent}.".encode() + body, "sha256") for key in keys]
    shown = (headers["webhook-signature"] or "").split()
    return any(hmac.compare_digest(one, "v1," + base64.b64encode(mine).decode()) for one in shown for mine in digests)

class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        genuine = is_genuine(self.headers, body)
        if genuine and (event := json.loads(body))["id"] not in seen:
            print(event["type"], event.get("subject", "-"), flush=True)
            seen.add(event["id"])
        self.send_response(204 if genuine else 401)
        self.end_headers()

http.server.ThreadingHTTPServer(("127.0.0.1", port), Receiver).serve_forever()
