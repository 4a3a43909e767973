"""A desk's system in small: hands a dossier in, and takes what comes back. Python's own library only.

    python3 client.py submit RECORD DOCUMENT     hand in; the same record again goes on where it stood
    python3 client.py receive CODE               take events over until this dossier has ended

What must survive a crash is in lgsp.db: the key and the bytes of a request before they are sent, an event before it is acknowledged.
LGSP_API, LGSP_PARTY, LGSP_ACTOR and LGSP_TOKEN_FILE say where the adapter is, who calls, and with which token.
"""
import datetime, json, os, pathlib, sqlite3, sys, time, urllib.error, urllib.parse, urllib.request

API = os.environ.get("LGSP_API", "http://127.0.0.1:8480")
HEADERS = {"LGSP-Party": os.environ.get("LGSP_PARTY", "H57.101"), "LGSP-Actor": os.environ.get("LGSP_ACTOR", "cb01")}
if "LGSP_TOKEN_FILE" in os.environ:
    HEADERS["Authorization"] = "Bearer " + pathlib.Path(os.environ["LGSP_TOKEN_FILE"]).read_text().strip()
ENDED = {"returned", "refused", "withdrawn", "stopped", "supplement_expired"}
PATIENCE = 6  # tries, at longer and longer intervals


class Refused(Exception):
    """The adapter or the gateway will not have it. `reason` is stable; sentences are for people."""

    def __init__(self, problem):
        super().__init__(problem.get("title"))
        self.problem, self.reason = problem, problem.get("reason")


def call(path, data=None, **headers):
    """One call, repeated while the outcome is unknown or "not now": that is safe, because the key is the same."""
    for attempt in range(PATIENCE):
        try:
            request = urllib.request.Request(API + path, data, {**HEADERS, **headers})
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            problem = json.loads(error.read() or b"{}")
            if error.code != 429 and error.code < 500:
                raise Refused(problem) from None
            why = problem.get("reason", error.code)
        except OSError as error:  # no connection, or it broke off before the answer
            why = error
        print(f"not yet ({why})", file=sys.stderr)
        time.sleep(0.2 * 2**attempt)
    sys.exit("the adapter does not answer; run the same command again later")


def store():
    database = sqlite3.connect("lgsp.db", isolation_level=None)  # each statement is on disk when it returns
    database.execute("CREATE TABLE IF NOT EXISTS request (key TEXT PRIMARY KEY, record TEXT, body BLOB, state TEXT, code TEXT)")
    database.execute("CREATE TABLE IF NOT EXISTS event (delivery_id TEXT PRIMARY KEY, code TEXT, sequence INT, kind TEXT, json TEXT)")
    return database


def submit(record, document):
    database = store()
    find = "SELECT key, body, state, code FROM request WHERE record = ? ORDER BY rowid DESC LIMIT 1"
    last = database.execute(find, [record]).fetchone()
    if last and last[2] == "admitted":
        return print(f"{record}: {last[3]}, admitted before")
    content = pathlib.Path(document).read_bytes()
    where = "/v1/documents?file_name=" + urllib.parse.quote(pathlib.Path(document).name)
    uploaded = call(where, content, **{"Content-Type": "application/pdf"})
    if last and last[2] == "sent":
        key, body = last[0], last[1]  # we do not know what became of it: the same bytes under the same key
    else:
        number = database.execute("SELECT count(*) FROM request WHERE record = ?", [record]).fetchone()[0] + 1
        key, body = f"{record}-{number}", json.dumps(dossier(uploaded)).encode()
        database.execute("INSERT INTO request VALUES (?, ?, ?, 'sent', NULL)", [key, record, body])
    try:
        call("/v1/dossiers", body, **{"Idempotency-Key": key, "Content-Type": "application/json"})
    except Refused as refusal:
        if not is_known(key):  # else it was taken in the time before, and this says nothing about it
            end_with(refusal, key, database)
    while (outcome := call(f"/v1/requests/{key}?wait_ms=30000"))["state"] in ("queued", "sending"):
        print("it is safe with the adapter and waits for the line", file=sys.stderr)
    if outcome["state"] == "refused":
        end_with(Refused(outcome["problem"]), key, database)
    code, due = outcome["dossier_code"], outcome["receipt"].get("due_at", "no single limit")
    database.execute("UPDATE request SET state = 'admitted', code = ? WHERE key = ?", [code, key])
    print(f"{record}: {code}, due {due}")


def is_known(key):
    try:
        return bool(call(f"/v1/requests/{key}"))
    except Refused as refusal:
        if refusal.reason != "REQUEST_NOT_FOUND":
            raise
        return False


def end_with(refusal, key, database):
    """A refused request is over, and its record free for a new key: but not when the key is of a request that may be this one."""
    if refusal.reason != "KEY_REUSED":
        database.execute("UPDATE request SET state = 'refused' WHERE key = ?", [key])
    sys.exit(f"{key}: {advice(refusal)}")


def advice(refusal):
    """What to do is decided by the reason. Whatever is corrected goes under a new key: `submit` takes one."""
    if refusal.reason == "FIELD_INVALID":
        fields = [f"{field['field']} {field['problem']}" for field in refusal.problem.get("fields", [])]
        return "a clerk has to correct: " + "; ".join(fields)
    if refusal.reason == "KEY_REUSED":
        return "another request has this key, perhaps this very dossier from before; look for it before anything is handed in again"
    return f"{refusal.reason}: {refusal} {refusal.problem.get('remedy', {}).get('en', '')}"


def dossier(document):
    """In earnest this is filled from your own record, the time too: written here, it is the same however often it is sent."""
    return {
        "procedure_code": "1.001193",
        "locality": "19774",
        "return_desk": "H57.TT",
        "received_at": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "applicant": {"kind": "citizen", "full_name": "Nguyễn Thị Thử", "personal_number": "046190000001"},
        "intake_channel": "direct",
        "return_channel": "direct",
        "components": [{"code": "to-khai", "originals": 1, "document": document}],
    }


def receive(code):
    database = store()
    while True:
        for delivery in call("/v1/inbox?wait_ms=30000")["deliveries"]:
            kind = delivery["event"]["type"]
            row = [delivery["delivery_id"], delivery["dossier_code"], delivery["sequence"], kind, json.dumps(delivery)]
            # An event that comes again finds its row there and has no effect.
            new = database.execute("INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?)", row).rowcount
            if new:
                print(f"{row[1]} {row[2]} {kind}", flush=True)
            named = {"dossier_code": row[1], "sequence": row[2]}
            call("/v1/inbox/ack", json.dumps({"deliveries": [named]}).encode(), **{"Content-Type": "application/json"})
        kinds = {kind for (kind,) in database.execute("SELECT kind FROM event WHERE code = ?", [code])}
        if kinds & ENDED:
            return


if __name__ == "__main__":
    try:
        if sys.argv[1:2] == ["submit"] and len(sys.argv) == 4:
            submit(*sys.argv[2:])
        elif sys.argv[1:2] == ["receive"] and len(sys.argv) == 3:
            receive(sys.argv[2])
        else:
            sys.exit(__doc__)
    except Refused as refusal:  # a call that was no dossier: nothing was changed by it
        sys.exit(advice(refusal))
