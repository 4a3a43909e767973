"""A server that is friendlier than it should be: TLS 1.2 as well, tickets, no client certificate.

It shows that the scan finds what it is there to find. Prints its port, and serves until it is killed.
"""

import socket
import ssl
import sys

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.minimum_version = ssl.TLSVersion.TLSv1_2
context.load_cert_chain(sys.argv[1], sys.argv[2])
listener = socket.create_server(("127.0.0.1", 0), backlog=64)
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    connection.settimeout(3)
    try:
        with context.wrap_socket(connection, server_side=True) as served:
            served.recv(1024)
    except OSError:
        pass
