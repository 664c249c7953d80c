#!/usr/bin/python3
"""browser FOLDER: opens every page of the manual that `make doc` has put into FOLDER in a headless Chromium, from disk,
and checks that nothing is wider than a telephone's screen, that all text has enough contrast in light and dark mode,
that the scripts raise no errors, and that the search finds words. Prints a line for each problem, and at the end
"pages: N". The exit status is 77 if there is no Chromium.

The browser is controlled by its DevTools protocol, over a pair of pipes (--remote-debugging-pipe).
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

NAMES = ["chromium", "chromium-browser", "google-chrome"]
TELEPHONE = dict(width=360, height=740, deviceScaleFactor=2, mobile=True)
DESK = dict(width=1280, height=900, deviceScaleFactor=1, mobile=False)
LEAST_CONTRAST = 4.5  # WCAG 2.1, 1.4.3

WIDTH = """
(function () {
  var most = document.documentElement.clientWidth, wide = [];
  if (document.documentElement.scrollWidth > most) {
    document.querySelectorAll("body *").forEach(function (e) {
      if (e.getBoundingClientRect().right > most + 1 && wide.length < 3) wide.push(e.tagName + " " + e.textContent.slice(0, 40));
    });
    return document.documentElement.scrollWidth + " of " + most + ": " + wide.join("; ");
  }
  return "";
})()
"""

# The text with the least contrast: WCAG's ratio, and the text's beginning.
CONTRAST = """
(function () {
  function channel(v) { v /= 255; return v <= 0.03928 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4); }
  function parts(colour) { return colour.match(/[\\d.]+/g).map(Number); }
  function light(c) { return 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]); }
  function behind(e) {
    for (; e; e = e.parentElement) {
      var c = parts(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  }
  var least = 21, where = "", walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), node, seen = {};
  while ((node = walker.nextNode())) {
    var e = node.parentElement;
    if (node.textContent.trim() === "" || !e || /SCRIPT|STYLE/.test(e.tagName)) continue;
    var front = getComputedStyle(e).color, key = front + "|" + behind(e);
    if (seen[key]) continue;
    seen[key] = true;
    var a = light(parts(front)), b = light(behind(e));
    var ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < least) { least = ratio; where = e.tagName + " " + node.textContent.trim().slice(0, 40); }
  }
  return [least, where, getComputedStyle(document.body).backgroundColor];
})()
"""

SEARCH = """
new Promise(function (done) {
  var tries = 0;
  (function look() {
    var links = Array.from(document.querySelectorAll("#%s a")).map(function (a) { return [a.href, a.textContent]; });
    if (links.length > 0 || tries++ > 200) done(links); else setTimeout(look, 50);
  })();
})
"""


class Browser:
    """A Chromium, and one page in it."""

    def __init__(self, program, profile):
        to_read, self.to_write = os.pipe()
        self.from_browser, to_us = os.pipe()

        def arrange():
            os.dup2(to_read, 3)
            os.dup2(to_us, 4)

        # 3 and 4 may be among ours: they are moved out of the way first.
        to_read, to_us = os.dup(to_read), os.dup(to_us)
        os.set_inheritable(to_read, True)
        os.set_inheritable(to_us, True)
        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
             "--user-data-dir=" + profile, "--remote-debugging-pipe", "about:blank"],
            preexec_fn=arrange, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_us)
        self.rest, self.number, self.events = b"", 0, []
        targets = self.ask("Target.getTargets")["targetInfos"]
        page = next(t for t in targets if t["type"] == "page")
        self.session = None
        self.session = self.ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(domain + ".enable")

    def read(self):
        """The next message."""
        while b"\0" not in self.rest:
            more = os.read(self.from_browser, 1 << 16)
            if not more:
                raise SystemExit("the browser has ended")
            self.rest += more
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def ask(self, method, **params):
        """Has the browser do something, and gives its answer."""
        self.number += 1
        message = dict(id=self.number, method=method, params=params)
        if getattr(self, "session", None):
            message["sessionId"] = self.session
        os.write(self.to_write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise SystemExit(method + ": " + json.dumps(answer["error"]))
                return answer["result"]
            self.events.append(answer)

    def evaluate(self, text):
        """The value of some JavaScript."""
        result = self.ask("Runtime.evaluate", expression=text, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise SystemExit(json.dumps(result["exceptionDetails"])[:500])
        return result["result"].get("value")

    def open(self, url):
        """Goes to a page, and waits until all of it is there."""
        self.events = []
        self.ask("Page.navigate", url=url)
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self.read())
        return [e for e in self.events if e.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")]

    def close(self):
        """Ends the browser."""
        try:
            self.session = None
            self.ask("Browser.close")
        except (SystemExit, OSError):
            pass
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def pages_of(folder):
    """All pages, from the folder."""
    found = []
    for where, _, names in os.walk(folder):
        found += [os.path.relpath(os.path.join(where, n), folder) for n in names if n.endswith(".html")]
    return sorted(found)


def look_at_pages(browser, folder, base):
    """Yields what is wrong with any page."""
    for page in pages_of(folder):
        browser.ask("Emulation.setDeviceMetricsOverride", **TELEPHONE)
        for fault in browser.open(base + page):
            print(f"{page}: {json.dumps(fault)[:300]}")
        wide = browser.evaluate(WIDTH)
        if wide:
            print(f"{page}: wider than a telephone: {wide}")
        browser.ask("Emulation.setDeviceMetricsOverride", **DESK)
        papers = []
        for scheme in ("light", "dark"):
            browser.ask("Emulation.setEmulatedMedia", features=[dict(name="prefers-color-scheme", value=scheme)])
            least, where, paper = browser.evaluate(CONTRAST)
            papers.append(paper)
            if least < LEAST_CONTRAST:
                print(f"{page}: in the {scheme}, a contrast of {least:.2f}: {where}")
        if papers[0] == papers[1]:
            print(f"{page}: as light in the dark")


def look_for(browser, base, word):
    """Does the search find a word, on the search page and while it is typed, and does the first link lead to a place
    that exists?"""
    browser.open(base + "search.html?q=" + word)
    results = browser.evaluate(SEARCH % "results")
    if not results or word not in results[0][1].lower():
        print(f"search: nothing is found for {word}: {results[:2]}")
        return
    browser.open(base + "reference/muc.html")
    browser.evaluate('document.querySelector("#search input").focus()')
    browser.ask("Input.insertText", text=word)
    found = browser.evaluate(SEARCH % "found")
    if not found or found[0] != results[0]:
        print(f"search: typed, {word} finds {found[:1]} instead of {results[0]}")
    browser.open(results[0][0])
    there = browser.evaluate(
        'location.hash === "" || document.getElementById(decodeURIComponent(location.hash.slice(1))) !== null')
    if not there:
        print(f"search: {results[0][0]} leads nowhere")


def main():
    """See above."""
    folder = os.path.abspath(sys.argv[1])
    program = next((p for p in map(shutil.which, NAMES) if p), None)
    if not program:
        sys.exit(77)
    base = "file://" + folder + "/"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, profile)
        try:
            look_at_pages(browser, folder, base)
            for word in sys.argv[2:]:
                look_for(browser, base, word)
        finally:
            browser.close()
    print("pages:", len(pages_of(folder)))


main()
