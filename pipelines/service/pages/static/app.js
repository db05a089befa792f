"use strict";
// What pages do beside showing: keys, the reader's own time, questions before what cannot be undone, live parts.
// Pages say everything without this script; it never makes HTML out of text.

const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Rows: elements with data-row, in the order of the page; each has a link, or can have the focus itself.
function rows() { return all("[data-row]").filter((row) => row.offsetParent !== null); }
function target(row) { return row.matches("a, button, [tabindex]") ? row : one("a[href], button", row) || row; }
function step(by) {
  const found = rows();
  if (!found.length) return;
  const at = found.findIndex((row) => row.contains(document.activeElement));
  const next = found[at < 0 ? (by > 0 ? 0 : found.length - 1) : Math.min(Math.max(at + by, 0), found.length - 1)];
  target(next).focus();
  next.scrollIntoView({ block: "nearest" });
}

const PLACES = { r: "/runs", n: "/new", l: "/labels", a: "/ablations", f: "/artifacts" };
let going = 0; // when g was pressed
function typing(element) { return element.closest("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]"); }
document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && typing(event.target)) { event.target.blur(); return; }
  if (typing(event.target) || one("dialog[open]")) return;
  const place = Date.now() - going < 1500 ? PLACES[event.key] : null;
  going = event.key === "g" ? Date.now() : 0;
  const search = one("[data-search]");
  if (place) location.assign(place);
  else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "?" && one("#keys")) one("#keys").showModal();
  else if (event.key === "/" && search) { search.focus(); search.select(); }
  else return;
  event.preventDefault();
});

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) one("#" + opener.dataset.opens).showModal();
});
document.addEventListener("submit", (event) => {
  const question = event.submitter && event.submitter.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-auto]");
  if (form) form.requestSubmit();
});

// The server writes times in UTC; who points at one sees it in their own.
function localise(root) {
  for (const element of all("time[datetime]", root)) {
    const moment = new Date(element.dateTime);
    if (!Number.isNaN(moment.valueOf())) element.title = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  }
}

// Says something to who cannot see that the page changed.
function say(text) { const place = one("#said"); if (place && place.textContent !== text) place.textContent = text; }

// Live parts: <div data-events="/v1/runs/ID/events?after=7" data-types="state progress"> gets the event `tamis:news`, which its
// hx-trigger waits for; at most one a second, and the last one is never lost. A browser that lost the stream connects again by
// itself and says what it heard last; when nothing is to come any more, the server ends it.
const streams = new Map();
function listen(root) {
  for (const element of all("[data-events]", root)) {
    if (streams.has(element.dataset.events)) continue;
    const source = new EventSource(element.dataset.events);
    streams.set(element.dataset.events, source);
    let waits = null, told = 0;
    const wake = (event) => {
      if (!element.isConnected) { source.close(); streams.delete(element.dataset.events); return; }
      if (event.type === "state") say("The run is " + JSON.parse(event.data).state.toLowerCase());
      if (waits === null) waits = setTimeout(() => {
        waits = null; told = Date.now();
        element.dispatchEvent(new CustomEvent("tamis:news"));
      }, Math.max(0, 1000 - (Date.now() - told)));
    };
    for (const type of (element.dataset.types || "state").split(" ")) source.addEventListener(type, wake);
  }
}

function begin(root) { localise(root); listen(root); }
document.addEventListener("DOMContentLoaded", () => begin(document));
document.addEventListener("htmx:afterSwap", (event) => begin(event.target.parentElement || document));
window.tamis = { say, step, rows };
