// The stream of changes: one for all tabs of a browser, in a worker that they share, which ends with the last of them.
//
// A browser opens six connections to a host over HTTP/1.1, so that streams of seven tabs would leave none for anything
// else. A leader among the tabs, chosen by the Web Locks API, would not do: over plain HTTP, browsers have that API on
// loopback alone, and the emulator may be on another machine.

const WAIT_MS = 250;
const LONGEST_WAIT_MS = 4000;
const CHANNEL = "linq-emulator-changes";

/**
 * Follow the stream for ever. An EventSource could not send the token.
 *
 * `token()` is what to present, or null. `report` gets "live", "lost", "refused" (the token is wrong) and "changed".
 */
async function follow(token, report) {
  for (let wait = WAIT_MS; ; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    try {
      const value = token();
      const response = await fetch("/_emulator/inbox/events", { headers: value ? { Authorization: `Bearer ${value}` } : {} });
      if (response.status === 401) report("refused");
      if (response.ok) {
        wait = WAIT_MS;
        report("live");
        await readEvents(response.body.getReader(), report);
      }
    } catch {
      // The emulator has ended, or starts again.
    }
    report("lost");
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

async function readEvents(reader, report) {
  const decoder = new TextDecoder();
  for (let text = ""; ; ) {
    const { done, value } = await reader.read();
    if (done) return;
    text += decoder.decode(value, { stream: true });
    const end = text.lastIndexOf("\n\n");
    if (end < 0) continue;
    if (text.slice(0, end).includes("data:")) report("changed");
    text = text.slice(end + 2);
  }
}

/** In a tab: follow the shared stream, or an own one where browsers have no shared workers (Chrome on Android). */
export function followShared(token, report) {
  if (!globalThis.SharedWorker) {
    follow(token, report);
    return { presentToken() {} };
  }
  const url = "/_inbox/stream.js";
  // The policy of the page allows this one policy, and this one address.
  const trusted = globalThis.trustedTypes?.createPolicy("linq-emulator-stream", { createScriptURL: () => url });
  const worker = new SharedWorker(trusted?.createScriptURL(url) ?? url, { name: CHANNEL, type: "module" });
  new BroadcastChannel(CHANNEL).onmessage = ({ data }) => report(data);
  worker.port.onmessage = ({ data }) => report(data);
  const presentToken = () => worker.port.postMessage(token());
  presentToken();
  return { presentToken };
}

if (globalThis.SharedWorkerGlobalScope) {
  const channel = new BroadcastChannel(CHANNEL);
  let token = null;
  let isLive = false;
  let isStarted = false;
  const report = (what) => {
    if (what === "live" || what === "lost") isLive = what === "live";
    channel.postMessage(what);
  };
  globalThis.onconnect = ({ ports: [port] }) => {
    port.onmessage = ({ data }) => {
      token = data;
      if (!isStarted) follow(() => token, report);
      isStarted = true;
      if (!isLive) return;
      port.postMessage("live");
      // What has changed since this tab has read what it shows.
      port.postMessage("changed");
    };
  };
}
