import base64, hmac, http.server, json, re, sys, threading, time

secrets, port, seen, one_at_a_time = sys.argv[1], int(sys.argv[2]), set(), threading.Lock()

def is_genuine(headers, body):
    name, sent = headers["webhook-id"] or "", headers["webhook-timestamp"] or ""
    if not re.fullmatch("[0-9]{1,12}", sent) or abs(time.time() - int(sent)) > 300:
        return False
    keys = [line.strip() for line in open(secrets) if line.startswith("whsec_")]
    digests = [hmac.digest(base64.b64decode(key[6:]), f"{name}.{sent}.".encode() + body, "sha256") for key in keys]
    shown = (headers["webhook-signature"] or "").split()
    return any(hmac.compare_digest(one.encode(), b"v1," + base64.b64encode(mine)) for one in shown for mine in digests)

class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        length = self.headers["content-length"] or ""
        if not re.fullmatch("[0-9]{1,8}", length):  # nobody reads more than 100 MB for a stranger
            return self.send_error(413)
        body = self.rfile.read(int(length))
        genuine = is_genuine(self.headers, body)
        with one_at_a_time:  # a post may be repeated while the first is still being answered
            if genuine and (event := json.loads(body))["id"] not in seen:
                print(event["type"], event.get("subject", "-"), flush=True)
                seen.add(event["id"])
        self.send_response(204 if genuine else 401)
        self.end_headers()

http.server.ThreadingHTTPServer(("127.0.0.1", port), Receiver).serve_forever()
