// Times are written as they pass, and whole in the reader's own time zone where the pointer rests.
"use strict";

function tellTimes(part) {
  for (const time of part.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.valueOf())) time.title = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
  }
}

tellTimes(document);
