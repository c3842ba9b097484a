"""An agent that fetches pages with what the standard library reads from its environment."""

import json
import sys
import urllib.error
import urllib.request


def fetched(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - http, by the test
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return f"{error.code}"
    except OSError as error:
        return str(error)


sys.stdout.write(json.dumps([fetched(url) for url in sys.argv[1:]]))
