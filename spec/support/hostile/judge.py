"""judge: compares what a client did with what its row requires, and with what is required in every row.

A run has: row, session (None: nobody connected), events (None: the client reports none), status (as wait4 tells it),
late, rss (KiB), again and elsewhere (connections that came besides the first)."""
import json
import os
import re

ERRORS = "urn:ietf:params:xml:ns:xmpp-streams"
STREAM = "http://etherx.jabber.org/streams"


def complaints(run, max_rss):
    """Everything that the client did wrong, one sentence for each."""
    if not run.session:
        return ["the client did not connect"]
    if not run.session.reached:
        return ["the client did not come to the point '%s' (%s)" % (run.row.point, run.session.why)]
    found = list(always(run, max_rss))
    found += [sentence for sentence in (outcome(run),) if sentence]
    for claim, wanted, text in run.row.musts:
        if claim in CLAIMS:
            found += [sentence for sentence in (CLAIMS[claim](run, wanted, text),) if sentence]
    return found


def always(run, max_rss):
    """What a client must not do, whatever the server does."""
    if run.late:
        yield "it outlived its deadline"
    if os.WIFSIGNALED(run.status) and not run.late:
        yield "it was killed by signal %d" % os.WTERMSIG(run.status)
    if max_rss and run.rss > max_rss * 1024:
        yield "its memory came to %d MiB" % (run.rss // 1024)
    if run.session.in_clear:
        yield "it began to log in without TLS"
    if run.again:
        yield "it connected again"
    if run.elsewhere:
        yield "it connected to where the server's bytes pointed"
    yield from run.session.reader.faults
    if run.events is not None:
        yield from always_told(run)


def always_told(run):
    """What a client that reports must get right in every row."""
    if not run.late and run.status != 0:
        yield "it exited with %d" % os.waitstatus_to_exitcode(run.status)
    if not any(event["event"] == "end" for event in run.events):
        yield "its program was not told of the end"
    if not run.session.bound and any(event["event"] == "stanza" for event in run.events):
        yield "it delivered a stanza before the login was complete"


def after(run):
    """What the client sent after the row had begun."""
    return run.session.reader.heard[run.session.mark:].decode(errors="backslashreplace")


def stream_error(run):
    """The condition of the stream error that the client sent, if it sent one."""
    for item in run.session.reader.items:
        if (item.ns, item.name) == (STREAM, "error"):
            return next((name for ns, name in item.children if ns == ERRORS and name != "text"), "no condition")
    return None


def end(run):
    """What a client that reports has said about the end."""
    ends = [event for event in run.events or () if event["event"] == "end"]
    return ends[-1] if ends else {}


# The outcomes.

def is_live(run, _):
    return run.session.alive and not stream_error(run)


def is_close(run, _):
    """It closed by itself, or it noticed that the server had closed."""
    return not run.late and not run.session.alive


def is_error(run, conditions):
    closed = run.session.reader.ended and run.session.wire.closed
    told = run.events is None or is_told(["stream", stream_error(run)], end(run))
    return stream_error(run) in conditions and closed and told


def outcome(run):
    tests = {"live": is_live, "close": is_close, "error": is_error}
    if any(tests[name](run, conditions) for name, conditions in run.row.outcomes()):
        return None
    text = next(text for claim, _, text in run.row.musts if claim in tests)
    return "it must %s; %s" % (text, what_it_did(run))


def what_it_did(run):
    said = stream_error(run)
    did = "it sent the stream error %s" % said if said else "it sent no stream error"
    did += ", ended its stream" if run.session.reader.ended else ", did not end its stream"
    did += " and closed" if run.session.wire.closed else " and did not close"
    if run.session.answered:
        did += "; it had answered the last ping"
    return did + told(run)


def told(run):
    if run.events is None:
        return ""
    return "; its program was told: " + json.dumps(end(run))


# The other claims.

def judge_send(run, wanted, pattern):
    if bool(re.search(pattern, after(run), re.DOTALL)) == wanted:
        return None
    return "it must %ssend %s" % ("" if wanted else "not ", pattern)


def mentions(run, kind, pattern):
    return any(event["event"] == kind and re.search(pattern, event["text"]) for event in run.events)


def reported(kind):
    """A claim about what the program gets, which only a client that reports can show."""
    def claim(run, wanted, pattern):
        if run.events is None or mentions(run, kind, pattern) == wanted:
            return None
        return "its program must %sget this %s: %s" % ("" if wanted else "not ", kind, pattern)
    return claim


def is_told(words, event):
    """LAYER [CONDITION...] [retry|final]; after binding the layer may also be 'closed', with that condition."""
    conditions = [word for word in words[1:] if word not in ("retry", "final")]
    if event.get("layer") not in (words[0], "closed") or (conditions and event.get("condition") not in conditions):
        return False
    return "retry" not in words and "final" not in words or event.get("retry") == ("retry" in words)


def judge_tell(run, wanted, text):
    if run.events is None or any(is_told(one.split(), end(run)) for one in text.split(" or ")) == wanted:
        return None
    return "its program must %sbe told: %s%s" % ("" if wanted else "not ", text, told(run))


CLAIMS = {"send": judge_send, "bind": reported("bound"), "deliver": reported("stanza"), "answer": reported("answer"),
          "tell": judge_tell}
