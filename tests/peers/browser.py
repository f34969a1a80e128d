"""A person with a browser, as far as the login page needs one: standard library only.

`python browser.py <authorization URL> <user> [<scope>...]` signs in and opens the client's callback.
"""

import sys
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, Request, build_opener

LIMIT_SECONDS = 30
MOST_REDIRECTS = 10


class Page(HTMLParser):
    """The form of a page: where it goes and what can be chosen."""

    def __init__(self, text):
        super().__init__()
        self.action = None
        self.users = []
        self.scopes = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "form":
            self.action = attributes["action"]
        elif tag == "input" and attributes.get("name") == "user":
            self.users.append(attributes["value"])
        elif tag == "input" and attributes.get("name") == "scope":
            self.scopes.append(attributes["value"])


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


class Browser:
    """Keeps cookies, follows redirects within one site, and stops where it would leave it."""

    def __init__(self):
        self._opener = build_opener(HTTPCookieProcessor(CookieJar()), _Stay())

    def open(self, url, form=None):
        """Returns status, final URL and text; or status, URL elsewhere and None."""
        home = urlsplit(url).netloc
        for _ in range(MOST_REDIRECTS):
            status, location, text = self._exchange(url, form)
            if location is None:
                return status, url, text
            url, form = urljoin(url, location), None
            if urlsplit(url).netloc != home:
                return status, url, None
        raise RuntimeError(f"redirected without end: {url}")

    def _exchange(self, url, form):
        headers = {"Accept": "text/html"}
        data = None
        if form is not None:
            parts = urlsplit(url)
            headers["Origin"] = f"{parts.scheme}://{parts.netloc}"
            data = urlencode(form).encode()
        request = Request(url, data=data, headers=headers)
        try:
            answer = self._opener.open(request, timeout=LIMIT_SECONDS)
        except HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.headers.get("Location"), answer.read().decode()


def sign_in(url, user, scopes=None, answer="allow"):
    """Opens an authorization URL, chooses, and returns the page's scopes and the way back to the client.

    Without `scopes` all that are asked for are granted.
    """
    browser = Browser()
    status, url, text = browser.open(url)
    if text is None:
        return [], url
    page = Page(text)
    if status != 200 or page.action is None or user not in page.users:
        raise RuntimeError(f"no login page with the user {user}: {status} {text}")
    granted = page.scopes if scopes is None else scopes
    form = [("user", user), *(("scope", scope) for scope in granted), ("answer", answer)]
    status, back, text = browser.open(urljoin(url, page.action), form)
    if text is not None:
        raise RuntimeError(f"the login page leads nowhere: {status} {text}")
    return page.scopes, back


if __name__ == "__main__":
    _, callback = sign_in(sys.argv[1], sys.argv[2], sys.argv[3:] or None)
    status, _, text = Browser().open(callback)
    print(status, text)
