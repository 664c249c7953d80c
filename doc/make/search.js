// search: finds sections of the manual by the words in them. The index is loaded when somebody begins to type; as a
// script, since a page from the disk may not fetch a file. INDEX: [title of the page, heading, address, text] for each.
(function () {
  "use strict";
  var form = document.getElementById("search");
  var input = form.querySelector("input");
  var found = document.getElementById("found");
  var results = document.getElementById("results");
  var MOST_SHOWN = 12;

  function load(then) {
    if (window.INDEX) { then(); return; }
    var script = document.createElement("script");
    script.src = ROOT + "index.js";
    script.onload = then;
    document.head.appendChild(script);
  }

  function words(text) {
    return text.toLowerCase().split(/\s+/).filter(function (word) { return word !== ""; });
  }

  // What a section is worth for one word; 0: it doesn't have it. Headings count most, and whole words more than parts.
  function worth(entry, word) {
    var title = entry[0].toLowerCase(), heading = entry[1].toLowerCase(), text = entry[3].toLowerCase();
    var score = 0;
    if (heading === word) score += 60;
    if (heading.indexOf(word) >= 0) score += 25;
    if (title.indexOf(word) >= 0) score += entry[1] === "" ? 25 : 5;
    var at = text.indexOf(word), times = 0;
    while (at >= 0 && times < 6) {
      times += 1;
      var before = text.charAt(at - 1);
      score += /[a-z0-9_]/.test(before) ? 1 : 2;
      at = text.indexOf(word, at + word.length);
    }
    return score;
  }

  function search(query) {
    var wanted = words(query);
    if (wanted.length === 0) return [];
    var list = [];
    INDEX.forEach(function (entry) {
      var score = 0;
      for (var i = 0; i < wanted.length; i++) {
        var one = worth(entry, wanted[i]);
        if (one === 0) return;
        score += one;
      }
      list.push({ entry: entry, score: score });
    });
    list.sort(function (a, b) { return b.score - a.score; });
    return list.map(function (one) { return one.entry; });
  }

  // The text around the first of the words, which are marked.
  function excerpt(text, wanted) {
    var lower = text.toLowerCase(), first = -1;
    wanted.forEach(function (word) {
      var at = lower.indexOf(word);
      if (at >= 0 && (first < 0 || at < first)) first = at;
    });
    var from = Math.max(0, first - 60), piece = text.slice(from, from + 180);
    var out = document.createElement("small"), rest = (from > 0 ? "..." : "") + piece;
    while (rest !== "") {
      var at = -1, length = 0, low = rest.toLowerCase();
      wanted.forEach(function (word) {
        var here = low.indexOf(word);
        if (here >= 0 && (at < 0 || here < at)) { at = here; length = word.length; }
      });
      if (at < 0) { out.appendChild(document.createTextNode(rest)); break; }
      out.appendChild(document.createTextNode(rest.slice(0, at)));
      var mark = document.createElement("mark");
      mark.textContent = rest.slice(at, at + length);
      out.appendChild(mark);
      rest = rest.slice(at + length);
    }
    return out;
  }

  function show(list, place, wanted) {
    place.textContent = "";
    list.forEach(function (entry) {
      var link = document.createElement("a");
      link.href = ROOT + entry[2];
      link.textContent = entry[1] === "" ? entry[0] : entry[1] + " - " + entry[0];
      link.appendChild(excerpt(entry[3], wanted));
      var holder = place === found ? link : document.createElement("p");
      if (holder !== link) holder.appendChild(link);
      place.appendChild(holder);
    });
  }

  function suggest() {
    if (input.value.trim() === "") { found.hidden = true; return; }
    load(function () {
      var list = search(input.value);
      show(list.slice(0, MOST_SHOWN), found, words(input.value));
      if (list.length === 0) found.textContent = "Nothing found.";
      found.hidden = false;
    });
  }

  input.addEventListener("input", suggest);
  input.addEventListener("focus", suggest);
  document.addEventListener("keydown", function (event) {
    if (event.key === "Escape") { found.hidden = true; }
    if (event.key === "/" && document.activeElement !== input) { event.preventDefault(); input.focus(); }
  });
  document.addEventListener("click", function (event) {
    if (!form.contains(event.target)) found.hidden = true;
  });

  // On a wide page the contents are always there, on a narrow one they are folded.
  var menu = document.getElementById("menu");
  if (!window.matchMedia("(min-width: 48rem)").matches) menu.open = false;

  var asked = new URLSearchParams(window.location.search).get("q");
  if (results && asked) {
    load(function () {
      var list = search(asked);
      document.getElementById("summary").textContent = list.length + " sections have " + asked + ".";
      show(list, results, words(asked));
    });
  }
})();
