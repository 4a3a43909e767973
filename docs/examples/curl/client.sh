#!/bin/sh
# A desk's system in small: hands a dossier in, and takes what comes back. curl and a POSIX shell only.
#
#   client.sh submit RECORD DOCUMENT     hand in; the same record again goes on where it stood
#   client.sh receive CODE               take events over until this dossier has ended
#
# What must survive a crash is in the folder store/: key and bytes of a request before they are sent, an event before it is
# acknowledged. LGSP_API, LGSP_PARTY, LGSP_ACTOR and LGSP_TOKEN_FILE say where the adapter is, who calls, and with which token.
set -eu
API=${LGSP_API:-http://127.0.0.1:8480}
mkdir -p store/requests store/events
sync . store

# One call, repeated while there is no answer or a "not now": that is safe, because the key is the same. Prints the answer.
# Ends with 1 on a refusal, with 2 when curl cannot even ask, and with 75 when there was no answer.
call() {
    path=$1; shift
    if [ -n "${LGSP_TOKEN_FILE:-}" ]; then set -- -H "Authorization: Bearer $(cat "$LGSP_TOKEN_FILE")" "$@"; fi
    for pause in 1 1 2 4 8; do
        status=$(curl --silent --max-time 60 --output store/answer --write-out '%{http_code}' \
            -H "LGSP-Party: ${LGSP_PARTY:-H57.101}" -H "LGSP-Actor: ${LGSP_ACTOR:-cb01}" "$@" "$API$path") || case $? in
            3 | 26) echo "curl cannot ask this: $API$path" >&2; return 2 ;; # an address or a file that cannot be read
            *) status=000 ;;
        esac
        case $status in
            2??) cat store/answer; return ;;
            000 | 429 | 5??) echo "not yet ($status)" >&2; sleep $pause ;;
            *) cat store/answer; return 1 ;;
        esac
    done
    echo "the adapter does not answer; run the same command again later" >&2
    return 75
}

# A text as a value in an address: each byte as its number.
encoded() { printf %s "$1" | od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g'; }

# The first value of a field in an answer. Enough here; a program that does more takes a JSON library.
field() { grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }

# Writes a file that is whole or not there, and on disk; with the folder, which has its name.
keep() { cat > "$1.tmp" && sync "$1.tmp" && mv "$1.tmp" "$1" && sync "${1%/*}"; }

# In earnest this is filled from your own record, the time too: written here, it is the same however often it is sent.
dossier() {
    cat <<JSON
{ "procedure_code": "1.001193", "locality": "19774", "return_desk": "H57.TT",
  "received_at": "$(date -u +%Y-%m-%dT%H:%M:%SZ)",
  "applicant": { "kind": "citizen", "full_name": "Nguyễn Thị Thử", "personal_number": "046190000001" },
  "intake_channel": "direct", "return_channel": "direct",
  "components": [{ "code": "to-khai", "originals": 1, "document": $1 }] }
JSON
}

# What to do is decided by the reason. Whatever is corrected goes under a new key: `submit` takes one.
failed() {
    if [ "$1" != 1 ]; then exit "$1"; fi
    reason=$(echo "$2" | field reason)
    case $reason in
        FIELD_INVALID) echo "a clerk has to correct: $(echo "$2" | grep -o '"fields":\[[^]]*\]')" ;;
        KEY_REUSED) echo "another request has this key, perhaps this very dossier from before; look for it before anything is handed in again" ;;
        *) echo "$reason: $(echo "$2" | field title) $(echo "$2" | field en)" ;;
    esac >&2
    exit 1
}

# A refused request is over, and its record free for a new key: but not when the key is of a request that may be this one.
end_with() {
    if [ "$(echo "$1" | field reason)" != KEY_REUSED ]; then echo refused | keep "$request.state"; fi
    printf '%s: ' "$key" >&2
    failed 1 "$1"
}

# Whether the adapter has taken a request under this key.
is_known() {
    known=$(call "/v1/requests/$1") || case $?,$(echo "$known" | field reason) in
        1,REQUEST_NOT_FOUND) return 1 ;;
        75,*) failed 75 ;;
        *) failed 1 "$known" ;;
    esac
}

submit() {
    number=1
    while [ "$(cat "store/requests/$1-$number.state" 2> /dev/null)" = refused ]; do number=$((number + 1)); done
    key=$1-$number request=store/requests/$1-$number
    if [ "$(cat "$request.state" 2> /dev/null)" = admitted ]; then
        echo "$1: $(cat "$request.code"), admitted before"
        return
    fi
    if [ ! -r "$2" ]; then echo "there is no document $2 to read" >&2; exit 2; fi
    upload="/v1/documents?file_name=$(encoded "$(basename "$2")")"
    document=$(call "$upload" -H 'Content-Type: application/pdf' --data-binary "@$2") || failed $? "$document"
    # If it is there, we do not know what became of it: the same bytes under the same key.
    if [ ! -e "$request.json" ]; then dossier "$document" | keep "$request.json"; fi
    answer=$(call /v1/dossiers -H "Idempotency-Key: $key" -H 'Content-Type: application/json' \
        --data-binary "@$request.json") || {
        ended=$?
        if [ $ended = 1 ] && is_known "$key"; then
            echo "it was taken in the time before" >&2
        else
            if [ $ended = 1 ]; then end_with "$answer"; fi
            failed $ended "$answer"
        fi
    }
    while :; do
        outcome=$(call "/v1/requests/$key?wait_ms=30000") || failed $? "$outcome"
        case $(echo "$outcome" | field state) in
            admitted) break ;;
            refused) end_with "$outcome" ;;
            *) echo "it is safe with the adapter and waits for the line" >&2 ;;
        esac
    done
    echo "$outcome" | field dossier_code | keep "$request.code"
    echo admitted | keep "$request.state"
    echo "$1: $(cat "$request.code"), due $(echo "$outcome" | field due_at)"
}

receive() {
    while :; do
        event=$(call '/v1/inbox?page_size=1&wait_ms=30000') || failed $? "$event"
        code=$(echo "$event" | field dossier_code)
        if [ -n "$code" ]; then
            sequence=$(echo "$event" | grep -o '"sequence":[0-9]*' | head -n 1 | cut -d : -f 2)
            kind=$(echo "$event" | grep -o '"type":"[a-z_]*","status"' | cut -d '"' -f 4)
            # An event that comes again finds its file there and has no effect.
            if [ ! -e "store/events/$code-$sequence.$kind" ]; then
                echo "$event" | keep "store/events/$code-$sequence.$kind"
                echo "$code $sequence $kind"
            fi
            acknowledged=$(call /v1/inbox/ack -H 'Content-Type: application/json' \
                -d '{ "deliveries": [{ "dossier_code": "'"$code"'", "sequence": '"$sequence"' }] }') || failed $? "$acknowledged"
        fi
        for end in returned refused withdrawn stopped supplement_expired; do
            for file in "store/events/$1"-*."$end"; do if [ -e "$file" ]; then return; fi; done
        done
    done
}

case ${1:-},$# in
    submit,3) submit "$2" "$3" ;;
    receive,2) receive "$2" ;;
    *) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
