// Times, numbers and names as people read them.

export const TAPBACKS = ["love", "like", "dislike", "laugh", "emphasize", "question"];

// All times are UTC, as they are in the API and in logs.
const FORM = { timeZone: "UTC", hourCycle: "h23" };
const TIME = new Intl.DateTimeFormat(undefined, { ...FORM, hour: "2-digit", minute: "2-digit" });
const SECONDS = new Intl.DateTimeFormat(undefined, { ...FORM, hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { ...FORM, weekday: "short", day: "numeric", month: "short" });
const DAY_OF_YEAR = new Intl.DateTimeFormat(undefined, { ...FORM, weekday: "short", day: "numeric", month: "short", year: "numeric" });
const DATE = new Intl.DateTimeFormat(undefined, { ...FORM, day: "numeric", month: "short" });
const DATE_OF_YEAR = new Intl.DateTimeFormat(undefined, { ...FORM, day: "numeric", month: "short", year: "numeric" });
const DAY_LENGTH = 86_400_000;
const HOUR = 3_600_000;

export const time = (ms) => TIME.format(ms);
export const seconds = (ms) => SECONDS.format(ms);
/** The clock can be moved by years: a day of another year than now's has it. */
export const day = (ms, now) => (sameYear(ms, now) ? DAY : DAY_OF_YEAR).format(ms);
const sameYear = (a, b) => new Date(a).getUTCFullYear() === new Date(b).getUTCFullYear();
export const sameDay = (a, b) => Math.floor(a / DAY_LENGTH) === Math.floor(b / DAY_LENGTH);

/** A time in a list: of today the hour, else the date. */
export const short = (ms, now) => (sameDay(ms, now) ? TIME : sameYear(ms, now) ? DATE : DATE_OF_YEAR).format(ms);

/** How long until a time, in two units at most. */
export function left(ms) {
  if (ms <= 0) return "expiring";
  const minutes = Math.ceil(ms / 60_000);
  if (ms < 60_000) return `${Math.ceil(ms / 1000)} s`;
  if (minutes < 60) return `${minutes} min`;
  return minutes % 60 && ms < 10 * HOUR ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${Math.floor(minutes / 60)} h`;
}

/** A number as people write it; other handles stay as they are. */
export function handle(text) {
  const match = /^\+1(\d{3})(\d{3})(\d{4})$/.exec(text);
  return match ? `(${match[1]}) ${match[2]}-${match[3]}` : text;
}

/** What a chat is called. */
export function chatName(chat) {
  if (chat.has_name || !chat.is_group) return handle(chat.name);
  const present = chat.handles.filter((other) => other.status === "active");
  return present.map((other) => handle(other.handle)).join(", ");
}

/** The letters in the circle of a handle: the last digits of a number, or the first letters. */
export function initials(text) {
  const digits = /^\+?\d+$/.test(text) ? text.slice(-2) : null;
  return digits ?? text.replace(/[^\p{L}\p{N}]/gu, "").slice(0, 2).toUpperCase();
}

/** One of eight hues, always the same for a text. */
export function hue(text) {
  let sum = 0;
  for (const character of text) sum = (sum * 31 + character.codePointAt(0)) % 8;
  return sum;
}

/** JSON on several lines; other texts as they are. */
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** The path of a URL of the emulator, whatever name it has for this browser; null for other URLs. */
export function ownPath(url) {
  try {
    const parsed = new URL(url);
    return parsed.pathname.startsWith("/_media/") ? parsed.pathname + parsed.search : null;
  } catch {
    return null;
  }
}
