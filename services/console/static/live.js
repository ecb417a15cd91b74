// Brings the marked parts of the page up to date every two seconds, and leaves alone what somebody is typing in.
"use strict";

const isInUse = (part) =>
  part.contains(document.activeElement) || [...part.querySelectorAll("input")].some((field) => field.value !== "");

async function refresh() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (now && !isInUse(part) && now.innerHTML !== part.innerHTML) part.innerHTML = now.innerHTML;
  }
}

setInterval(() => refresh().catch(() => {}), 2000);
