"use strict";
// The threshold is one value that a slider, a field and a line in the drawing show; and keys press the buttons that name them.

function threshold(form) {
  return { range: form.querySelector("input[type=range]"), number: form.querySelector("[name=value]"), line: document.getElementById("threshold-line") };
}
function draw({ range, line }) {
  if (!line || !range) return;
  const low = Number(range.min), high = Number(range.max);
  const x = 1000 * Math.min(1, Math.max(0, (Number(range.value) - low) / (high - low)));
  line.setAttribute("x1", x);
  line.setAttribute("x2", x);
}
// Runs before the script of the page's parts sees the same event, so that what is sent is what is shown.
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-threshold]");
  if (!form) return;
  const parts = threshold(form);
  if (!parts.range) return;
  if (event.target === parts.range) {
    const value = Number(parts.range.value);
    parts.number.value = "whole" in parts.range.dataset ? String(Math.round(value)) : String(Number(value.toPrecision(4)));
  } else if (event.target === parts.number && Number.isFinite(Number(parts.number.value)) && parts.number.value.trim()) {
    parts.range.value = parts.number.value;
  }
  draw(parts);
}, true);

// Arrow keys move the slider by a five-hundredth of what is drawn; Page Up and Page Down by a twentieth.
const MOVES = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 25, PageDown: -25 };
document.addEventListener("keydown", (event) => {
  const range = event.target.closest("form[data-threshold] input[type=range]");
  if (!range || !(event.key in MOVES) || event.ctrlKey || event.metaKey || event.altKey) return;
  range.value = Number(range.value) + MOVES[event.key] * Number(range.dataset.step);
  range.dispatchEvent(new Event("input", { bubbles: true }));
  event.preventDefault();
});

// <button data-key="1"> or <a data-key="n">: the key does what a click does. While an answer is on its way no key counts.
// A key that is pressed before the next document is there would label what nobody has seen.
function waits() { return document.querySelector("#labelling[data-waits]") !== null; }
function wait(on) { const part = document.getElementById("labelling"); if (part) part.toggleAttribute("data-waits", on); }
document.addEventListener("htmx:beforeRequest", (event) => { if (event.target.closest("#labelling form")) wait(true); });
document.addEventListener("htmx:afterSettle", () => wait(false));
document.addEventListener("htmx:sendError", () => wait(false));
document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.repeat || event.ctrlKey || event.metaKey || event.altKey || waits()) return;
  if (event.target.closest("input, textarea, select, [contenteditable]") || document.querySelector("dialog[open]")) return;
  const found = [...document.querySelectorAll("[data-key]")].find((element) => element.dataset.key === event.key);
  if (!found) return;
  event.preventDefault();
  found.click();
});
// The document to label is what is read next.
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id === "labelling") { const text = event.target.querySelector("pre.text"); if (text) text.scrollTop = 0; }
});
