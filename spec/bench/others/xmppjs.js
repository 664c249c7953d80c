// xmppjs: the program for xmpp.js in `make bench`, as a component. Prints microseconds of CPU (user and system) a stanza.
//
//   node xmppjs.js MODULES flood N        a handler counts what comes from `peer flood`; MODULES has node_modules
//   node xmppjs.js MODULES parse FILE N   the stanzas of FILE, from memory
//   node xmppjs.js MODULES tostring N     receives a flood, and measures the time to make text of the stanzas again
//   node xmppjs.js MODULES send N         small messages to `peer sink`, 64 a turn
//   node xmppjs.js MODULES ping N DEPTH   DEPTH at a time, with `peer echo`
const [modules, what, ...rest] = process.argv.slice(2);
const fs = require("fs");
const load = require("module").createRequire(require("path").resolve(modules) + "/");
const { component, xml } = load("@xmpp/component");
const Parser = load("@xmpp/xml/lib/Parser");
const n = Number(rest[what === "parse" ? 1 : 0]), batch = 64, kept = 1000;

function clock() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function tell(microseconds) {
  fs.writeSync(1, (microseconds / n).toFixed(6) + "\n");
  process.exit(0);
}

function parse() {
  const parser = new Parser(), text = fs.readFileSync(rest[0], "utf8"), piece = 16384;
  let seen = 0;
  parser.on("element", () => seen++);
  parser.write("<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>");
  const since = clock();
  for (let at = 0; at < text.length; at += piece) parser.write(text.slice(at, at + piece));
  if (seen === n) tell(clock() - since);
}

// Resolves when `handler` has had n stanzas.
function eachStanza(xmpp, handler) {
  return new Promise((done) => {
    let left = n;
    xmpp.on("stanza", (stanza) => {
      handler(stanza, left === 1);
      if (--left === 0) done();
    });
    xmpp.send(xml("presence"));
  });
}

async function flood(xmpp) {
  const since = clock();
  await eachStanza(xmpp, () => {});
  tell(clock() - since);
}

async function toText(xmpp) {
  let list = [], spent = 0;
  await eachStanza(xmpp, (stanza, last) => {
    list.push(stanza);
    if (list.length < kept && !last) return;
    const since = clock();
    for (const x of list) x.toString();
    spent += clock() - since;
    list = [];
  });
  tell(spent);
}

async function send(xmpp) {
  const since = clock();
  for (let left = n; left > 0; left -= batch) {
    const turn = [];
    for (let i = 0; i < batch; i++) {
      const body = xml("body", {}, "Hi there, how are you?");
      turn.push(xmpp.send(xml("message", { to: "romeo@example.net", type: "chat" }, body)));
    }
    await Promise.all(turn);
  }
  tell(clock() - since);
}

async function ask(xmpp, times) {
  for (let i = 0; i < times; i++) {
    await xmpp.iqCaller.request(xml("iq", { type: "get", to: "bench.test" }, xml("ping", { xmlns: "urn:xmpp:ping" })));
  }
}

async function ping(xmpp) {
  const depth = Number(rest[1]), since = clock();
  await Promise.all(Array.from({ length: depth }, () => ask(xmpp, n / depth)));
  tell(clock() - since);
}

const modes = { flood, tostring: toText, send, ping };
if (what === "parse") {
  parse();
} else {
  const service = "xmpp://127.0.0.1:" + process.env.BENCH_PORT;
  const xmpp = component({ service, domain: "bench.test", password: "secret" });
  xmpp.on("error", (err) => {
    console.error(err);
    process.exit(1);
  });
  xmpp.on("online", () => modes[what](xmpp));
  xmpp.start().catch(() => {});
}
