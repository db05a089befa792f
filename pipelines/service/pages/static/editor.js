"use strict";
// The spec editor: the stage of the cursor's line is explained, hints are searched and inserted, what is wrong is gone to.
(() => {
  const text = document.querySelector("#spec"), hints = document.querySelector("#hints");
  if (!text) return;
  const stages = new Map([...hints.querySelectorAll("details")].map((part) => [part.dataset.kind, part]));

  // As typing does: it can be undone, and what listens to typing hears of it.
  function type(what) {
    text.focus();
    if (document.execCommand("insertText", false, what)) return;
    text.setRangeText(what, text.selectionStart, text.selectionEnd, "end");
    text.dispatchEvent(new Event("input", { bubbles: true }));
  }

  let shown = null;
  function explain() {
    const start = text.value.lastIndexOf("\n", text.selectionStart - 1) + 1;
    const end = text.value.indexOf("\n", text.selectionStart);
    const line = text.value.slice(start, end < 0 ? undefined : end);
    const found = line.match(/(?:kind|rules)["']?\s*:\s*["']?([\w.@-]+)/);
    const part = found && stages.get(found[1]);
    if (!part || part === shown) return;
    if (shown) shown.open = false;
    part.open = true;
    part.hidden = false;
    shown = part;
    hints.scrollTop = part.offsetTop - hints.offsetTop - 8; // not scrollIntoView: the page itself must stay
  }
  for (const event of ["keyup", "click", "focus"]) text.addEventListener(event, explain);

  document.querySelector("#hint").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    for (const part of stages.values()) part.hidden = wanted !== "" && !part.textContent.toLowerCase().includes(wanted);
  });

  function goTo(number) {
    const lines = text.value.split("\n"), before = lines.slice(0, number - 1).join("\n").length + (number > 1 ? 1 : 0);
    text.focus();
    text.setSelectionRange(before, before + (lines[number - 1] || "").length);
    text.scrollTop = Math.max(0, (text.scrollHeight / lines.length) * (number - 4));
  }
  document.addEventListener("click", (event) => {
    const insert = event.target.closest("[data-insert]"), goes = event.target.closest("[data-goes]");
    if (insert) type(insert.dataset.insert);
    if (goes) goTo(Number(goes.dataset.goes));
  });

  // Tab keeps moving on, as everywhere: indentation is by Enter, which keeps that of the line.
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      document.querySelector("#validate").click();
    } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      const start = text.value.lastIndexOf("\n", text.selectionStart - 1) + 1;
      const indent = text.value.slice(start, text.selectionStart).match(/^ */)[0];
      if (indent) { event.preventDefault(); type("\n" + indent); }
    }
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.target.id !== "tried") return;
    const problem = event.target.querySelector(".problem");
    text.setAttribute("aria-invalid", String(Boolean(problem)));
    event.target.scrollIntoView({ block: "nearest" });
  });
  let changed = Boolean(document.querySelector("#tried .problem")); // the text was sent, and came back
  text.addEventListener("input", () => { changed = true; text.removeAttribute("aria-invalid"); });
  text.form.addEventListener("submit", () => { changed = false; });
  window.addEventListener("beforeunload", (event) => { if (changed) event.preventDefault(); });
})();
