// What the browser keeps for the page: of one tab, or of all. Where it may keep nothing, or has no room, the page itself
// does, until it is left.

const areas = { tab: () => sessionStorage, browser: () => localStorage };
const kept = new Map();

/** The text that is kept under a name, or null. */
export function recall(area, name) {
  if (kept.has(name)) return kept.get(name);
  try {
    return areas[area]().getItem(name);
  } catch {
    return null;
  }
}

/** Keep a text under a name; null forgets it. */
export function keep(area, name, text) {
  kept.delete(name);
  try {
    if (text === null) areas[area]().removeItem(name);
    else areas[area]().setItem(name, text);
  } catch {
    kept.set(name, text);
  }
}

/** The same for what JSON can hold; an empty object if there is none. */
export function recallObject(area, name) {
  try {
    return JSON.parse(recall(area, name)) ?? {};
  } catch {
    return {};
  }
}
