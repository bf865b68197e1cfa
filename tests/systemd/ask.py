"""One request from inside the booted machine: ask.py PLACE METHOD PATH [BODY [TOKEN]] prints status and body as JSON.

PLACE is the port on loopback, or a socket file. Run by the system's Python: the library is all it has.
"""

import http.client
import json
import socket
import sys


class _OnFile(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.place)


def main(place, method, path, body="", token=""):
    connection = (_OnFile if place.startswith("/") else http.client.HTTPConnection)("127.0.0.1", timeout=60)
    connection.place = place
    if not place.startswith("/"):
        connection.port = int(place)
    headers = {"Host": "localhost"} | ({"Authorization": f"Bearer {token}"} if token else {})
    connection.request(method, path, body.encode() or None, headers)
    answer = connection.getresponse()
    print(json.dumps({"status": answer.status, "body": json.loads(answer.read())}))


if __name__ == "__main__":
    main(*sys.argv[1:])
