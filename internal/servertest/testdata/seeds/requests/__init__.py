"""What the examples use of the requests library, on the standard library alone."""

import json as _json
import urllib.error
import urllib.parse
import urllib.request

from . import exceptions


class Response:
    def __init__(self, status, reason, url, body):
        self.status_code, self.reason, self.url, self.text = status, reason, url, body.decode()

    def json(self):
        return _json.loads(self.text)

    def raise_for_status(self):
        if self.status_code >= 400:
            raise exceptions.HTTPError(f"{self.status_code} Client Error: {self.reason} for url: {self.url}", response=self)


def request(method, url, headers=None, params=None, json=None):
    if params:
        url += "?" + urllib.parse.urlencode(params, doseq=True)
    body = None if json is None else _json.dumps(json).encode()
    call = urllib.request.Request(url, data=body, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(call) as answer:
            return Response(answer.status, answer.reason, url, answer.read())
    except urllib.error.HTTPError as e:
        return Response(e.code, e.reason, url, e.read())


def get(url, **options):
    return request("GET", url, **options)


def post(url, **options):
    return request("POST", url, **options)
