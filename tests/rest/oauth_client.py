"""A stock OAuth client: gets a token for its secret over TLS, hands a dossier in with it, and asks until there is an outcome.

Finds the token endpoint by the server's metadata. Prints the outcome as JSON.
"""

import json
import sys

import requests
from oauthlib.oauth2 import BackendApplicationClient
from oauthlib.oauth2.rfc6749.errors import InvalidClientError
from requests_oauthlib import OAuth2Session

base, bundle, name, secret, party, submission = sys.argv[1:]

server = requests.get(f"{base}/.well-known/oauth-authorization-server", verify=bundle).json()
assert server["issuer"] == base, server

session = OAuth2Session(client=BackendApplicationClient(client_id=name))
session.verify = bundle
# Whatever the machine trusts otherwise.
session.trust_env = False
try:
    session.fetch_token(server["token_endpoint"], client_id=name, client_secret="lgsps_not-this-one")
    raise SystemExit("a wrong secret was good")
except InvalidClientError:
    pass

token = session.fetch_token(server["token_endpoint"], client_id=name, client_secret=secret)
assert token["token_type"] == "Bearer" and token["expires_in"] == 600, "another kind of token"

who = {"LGSP-Party": party, "LGSP-Actor": "clerk-binh-1"}
taken = session.post(f"{base}/v1/dossiers", data=submission, headers=who | {"Idempotency-Key": "oauth-1"})
assert taken.status_code == 202, taken.text
outcome = session.get(f"{base}/v1/requests/oauth-1", params={"wait_ms": 30000}, headers={"LGSP-Party": party})
print(json.dumps(outcome.json()))
