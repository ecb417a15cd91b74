// The search on every page: Ctrl-K or a click on its link opens it, arrow keys select, Enter opens, Escape closes.
// Without this script, the link opens the same search as a page.
"use strict";

{
  const palette = document.getElementById("palette");
  const field = palette.querySelector("input");
  const results = palette.querySelector("[data-results]");
  let asked = 0;

  async function find() {
    const mine = ++asked;
    let hits;
    try {
      const answer = await fetch(`/search?${new URLSearchParams({ q: field.value })}`, { headers: { accept: "text/html" } });
      if (answer.redirected) return void location.reload();
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      hits = page.querySelector("[data-results]").childNodes;
    } catch {
      hits = ["No answer: the connection is lost."];
    }
    if (mine === asked) show(hits);
  }

  function show(hits) {
    const chosen = results.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    results.replaceChildren(...hits);
    if (chosen === null) return;
    const same = [...results.querySelectorAll("a")].find((link) => link.getAttribute("href") === chosen);
    (same ?? field).focus(); // a late response must not change the user's selection
  }

  function open() {
    if (palette.open) return;
    field.value = "";
    results.replaceChildren();
    palette.showModal();
    find();
  }

  function move(step) {
    const places = [field, ...results.querySelectorAll("a")];
    const at = places.indexOf(document.activeElement);
    places[(Math.max(at, 0) + step + places.length) % places.length].focus();
  }

  field.addEventListener("input", find);
  palette.querySelector("form").addEventListener("submit", (event) => {
    const first = results.querySelector("a");
    if (!first) return;
    event.preventDefault();
    first.click();
  });
  palette.addEventListener("click", (event) => {
    if (event.target === palette || event.target.closest("a")) palette.close(); // a click outside, or on a result
  });
  palette.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    move(step);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    open();
  });
  for (const link of document.querySelectorAll("a[data-palette]")) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      open();
    });
  }
}
