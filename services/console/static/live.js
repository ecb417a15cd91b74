// Updates the marked parts of the page, at once after each new fact and otherwise every ten seconds. A part that the
// user is working in is not replaced; only its entity tags are updated.
"use strict";

const lost = document.getElementById("lost");
let seen = new Date();
let isWanted = false;
let underWay = null;

const isInUse = (part) =>
  (part.contains(document.activeElement) && part.matches(":has(input, select)")) ||
  part.matches(":has(input:checked)") ||
  [...part.querySelectorAll('input[type="text"]')].some((field) => field.value !== "");

// Identifies a fold by its name without numbers and its position among folds of that name, so that "12 facts" stays
// open when it becomes "13 facts".
function folds(part) {
  const counts = new Map();
  return [...part.querySelectorAll("details > summary")].map((summary) => {
    const name = summary.textContent.replaceAll(/\d+/g, "");
    counts.set(name, (counts.get(name) ?? 0) + 1);
    return [`${name} ${counts.get(name)}`, summary.parentElement];
  });
}

function renew(part, now) {
  if (isInUse(part)) return;
  if (now.innerHTML === part.innerHTML) return;
  const open = new Set(folds(part).filter(([, fold]) => fold.open).map(([name]) => name));
  part.innerHTML = now.innerHTML;
  tellTimes(part);
  for (const [name, fold] of folds(part)) {
    if (open.has(name)) fold.open = true;
  }
}

function tell(isLost) {
  lost.hidden = !isLost;
  lost.querySelector("time").textContent = seen.toLocaleTimeString();
}

async function look() {
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.redirected) return void location.reload();
    if (!answer.ok) throw new Error(answer.statusText);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const now = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
      if (now) renew(part, now);
    }
    document.title = fresh.title;
    seen = new Date();
    tell(false);
  } catch {
    tell(true);
  }
}

async function lookWhileWanted() {
  while (isWanted) {
    isWanted = false;
    await look();
  }
  underWay = null;
}

// Only one request runs at a time. Its response may lack what happens meanwhile, so calls during it cause another one.
function refresh() {
  isWanted = true;
  underWay ??= lookWhileWanted();
  return underWay;
}

const feed = new EventSource("/api/v1/events");
feed.addEventListener("fact", refresh);
feed.addEventListener("error", refresh); // shows whether the connection is lost, or only the feed
feed.addEventListener("open", refresh);
setInterval(refresh, 10000);
