// The stream of what changes. It only hints at what to ask for again, so nothing is wrong where there is none, or where it breaks
// off. A tab that nobody sees has none: a browser has six connections to a place, for all of its tabs.

import { Away, send } from "./api.ts";
import { away } from "./connection.ts";
import { hint } from "./live.ts";
import { token } from "./token.ts";

const WAIT_MS = 2_000;
const WAIT_MAX_MS = 30_000;

let running: AbortController | null = null;
let wait = WAIT_MS;

export function followEvents(): void {
  const look = () => {
    const isWanted = !document.hidden && token.get() !== null && away.get() === null;
    if (isWanted && running === null) void follow();
    if (!isWanted) stop();
  };
  document.addEventListener("visibilitychange", look);
  token.look(look);
  away.look(look);
  look();
}

function stop(): void {
  running?.abort();
  running = null;
}

async function follow(): Promise<void> {
  const own = new AbortController();
  running = own;
  let error: unknown;
  try {
    const response = await send("/events", { signal: own.signal, isStream: true });
    wait = WAIT_MS;
    await read(response.body!.getReader());
  } catch (reason) {
    error = reason;
  }
  if (own.signal.aborted || running !== own) return;
  hint();
  setTimeout(() => {
    if (running !== own) return;
    running = null;
    if (!document.hidden && token.get() !== null && away.get() === null) void follow();
  }, wait);
  if (!(error instanceof Away)) wait = Math.min(wait * 2, WAIT_MAX_MS);
}

async function read(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  const text = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (rest + text.decode(value, { stream: true })).split(/\r?\n\r?\n/);
    rest = events.pop() ?? "";
    events.forEach(heard);
  }
}

function heard(event: string): void {
  const lines = event.split(/\r?\n/);
  const of = (name: string) => lines.find((line) => line.startsWith(`${name}:`))?.slice(name.length + 1).trim();
  const data = of("data");
  if (data === undefined) return; // a comment
  try {
    const told = JSON.parse(data);
    if (of("event") === "job") hint(told.queue, told.id);
    else hint();
  } catch {
    hint();
  }
}
