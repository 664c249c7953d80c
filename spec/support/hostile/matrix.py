"""matrix: the rows, read from rows/*.txt. README.md says how they are written."""
import os
import re

HERE = os.path.dirname(os.path.realpath(__file__))
GROUPS = ("stream", "xml", "starttls", "sasl", "bind", "stanzas", "limits", "closing", "proxy", "websocket")
POINTS = ("greeting", "request", "connect", "header", "features", "starttls", "handshake", "upgrade", "secure-header", "mechanisms",
          "auth", "response", "sasl-header", "resource", "bind", "bound", "ask", "stop", "end")
STEPS = ("send", "raw", "repeat", "attributes", "endless", "trickle", "pieces", "half", "wait", "deaf", "challenge",
         "success", "tls", "await", "continue", "close", "bye", "fin", "reset", "frame", "shut")
PROXIES = (None, "socks5", "http")
OUTCOMES = ("live", "error", "close")
CLAIMS = OUTCOMES + ("send", "bind", "deliver", "answer", "tell")
HEAD = re.compile(r"([a-z]+/[a-z0-9{}-]+): (.+) \[([^\]]+)\]")


class Row:
    """One hostile act. 'steps' are (verb, text) pairs, 'musts' (claim, wanted?, text); an outcome's text is the whole
    line, with its alternatives."""

    def __init__(self, number, head, lines):
        self.id, self.title, self.reference = head
        self.number, self.point, self.direct, self.idle, self.proxy, self.websocket = number, "bound", False, False, None, False
        self.steps, self.musts = [], []
        for line in lines:
            self.add(*line.partition(" ")[::2])
        self.check()

    def add(self, verb, text):
        if verb == "point":
            self.point = text
        elif verb == "direct":
            self.direct = True
        elif verb == "through":
            self.proxy = text
        elif verb == "websocket":
            self.direct = self.websocket = True
        elif verb == "idle":
            self.idle = True
        elif verb == "must":
            self.add_must(text)
        elif verb in STEPS:
            self.steps.append((verb, text))
        else:
            raise ValueError("%s: no such step: %s" % (self.id, verb))

    def add_must(self, text):
        wanted = not text.startswith("not ")
        claim, _, rest = (text if wanted else text[4:]).partition(" ")
        if claim not in CLAIMS:
            raise ValueError("%s: no such claim: %s" % (self.id, claim))
        self.musts.append((claim, wanted, text if claim in OUTCOMES else rest))

    def check(self):
        if self.point not in POINTS:
            raise ValueError("%s: no such point: %s" % (self.id, self.point))
        if self.proxy not in PROXIES or self.point in ("greeting", "request") and not self.proxy:
            raise ValueError("%s: no such proxy: %s" % (self.id, self.proxy))
        if sum(claim in OUTCOMES for claim, _, _ in self.musts) != 1:
            raise ValueError("%s: one of %s must be the outcome" % (self.id, ", ".join(OUTCOMES)))

    @property
    def group(self):
        return self.id.partition("/")[0]

    def outcomes(self):
        """[(outcome, its conditions)...]: the ones that are right."""
        text = next(text for claim, _, text in self.musts if claim in OUTCOMES)
        return [(words[0], words[1:]) for words in (one.split() for one in text.split(" or "))]


def paragraphs(text):
    """Yields a row's lines, stripped; a line that begins with '<' continues the one before. '#' begins a comment."""
    for paragraph in re.split(r"\n\s*\n", text):
        lines = []
        for line in paragraph.splitlines():
            line = line.strip()
            if line.startswith("<") and lines:
                lines[-1] += line
            elif line and not line.startswith("#"):
                lines.append(line)
        if lines:
            yield lines


def expand(lines):
    """One paragraph for each 'each NAME VALUE' in it, with {name} and {value} filled in; without any: itself."""
    cases = [line.split(" ", 2)[1:] for line in lines if line.startswith("each ")]
    rest = [line for line in lines if not line.startswith("each ")]
    for name, *value in cases:
        filled = value[0] if value else name
        if filled[:1] == filled[-1:] == '"' and len(filled) > 1:
            filled = filled[1:-1]
        yield [line.replace("{name}", name).replace("{value}", filled) for line in rest]
    if not cases:
        yield rest


def read(path, start):
    rows = []
    with open(path, encoding="utf-8") as file:
        for paragraph in paragraphs(file.read()):
            for lines in expand(paragraph):
                head = HEAD.fullmatch(lines[0])
                if not head:
                    raise ValueError("%s: this begins no row: %s" % (path, lines[0]))
                rows.append(Row(start + len(rows), head.groups(), lines[1:]))
    return rows


def load():
    """Every row, in the order of the groups; the same number for the same row each time."""
    rows = []
    for group in GROUPS:
        found = read(os.path.join(HERE, "rows", group + ".txt"), 1 + len(rows))
        strange = [row.id for row in found if row.group != group]
        if strange:
            raise ValueError("rows of another group in %s.txt: %s" % (group, ", ".join(strange)))
        rows += found
    seen = set()
    for row in rows:
        if row.id in seen:
            raise ValueError("%s: there are two of these" % row.id)
        seen.add(row.id)
    return rows
