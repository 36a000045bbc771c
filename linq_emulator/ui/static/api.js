// Requests of the control API, and the news that something has changed.

import { dialog, h } from "./dom.js";
import { keep, recall } from "./storage.js";
import { followShared } from "./stream.js";

const TOKEN = "linq-emulator-token";
let asking = null;

function headers(more) {
  const token = recall("tab", TOKEN);
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

/** Ask for the token of the start. It is kept until the tab is closed. */
function askForToken() {
  asking ??= new Promise((resolve) => {
    const input = h("input", { name: "token", type: "password", required: true, autocomplete: "off", autofocus: true });
    const text = h("p", { class: "hint" }, "This emulator was started with --token. Its value is kept until this tab is closed.");
    dialog("Token", h("div", {}, text, h("label", { class: "field" }, "Token", input)), "Continue", async (values) => {
      const token = values.token.trim();
      // A header cannot hold other characters, and no token has them.
      const isRight = /^[!-~]+$/.test(token) && (await fetch("/_emulator/clock", { headers: { Authorization: `Bearer ${token}` } })).ok;
      if (!isRight) throw new Error("This is not the value of --token.");
      keep("tab", TOKEN, token);
    }).addEventListener("close", () => {
      asking = null;
      resolve();
    });
  });
  return asking;
}

/** The JSON of a command. A refused one throws an error with the field and the rule. */
export async function command(method, path, body) {
  const options = { method, headers: headers(body === undefined ? {} : { "Content-Type": "application/json" }) };
  if (body !== undefined) options.body = JSON.stringify(body);
  const response = await fetch(`/_emulator/${path}`, options).catch(() => {
    throw new Error("The emulator can't be reached.");
  });
  if (response.status === 401) {
    await askForToken();
    return command(method, path, body);
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  const refusal = answer?.error;
  const error = new Error(refusal ? `${refusal.field}: ${refusal.rule}` : `The emulator answered with status ${response.status}.`);
  error.status = response.status;
  throw error;
}

export const get = (path, query = {}) => {
  const present = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  return command("GET", path + (present.length ? `?${new URLSearchParams(present)}` : ""));
};
export const post = (path, body) => command("POST", path, body);

/** Call `onChange` whenever something has changed, and `onState` with whether the emulator is there. */
export function follow(onChange, onState) {
  let checking = null;
  const check = async () => {
    await get("clock"); // This asks for the token, if the one of this tab is wrong, too.
    stream.presentToken();
  };
  const stream = followShared(() => recall("tab", TOKEN), (what) => {
    if (what === "changed") onChange();
    else if (what === "refused") checking ??= check().catch(() => {}).finally(() => { checking = null; });
    else onState(what === "live");
  });
}
