// Whether the daemon answers. While it does not, nobody asks but one probe, which needs no token; when it answers again, all that is
// shown is asked for anew.

import { Value } from "./value.ts";

/** Since when the daemon is away; null while it is there. */
export const away = new Value<number | null>(null);

/** The wait between two looks for a daemon that is away: from the first to the longest. */
const WAIT_MS = 500;
const WAIT_MAX_MS = 5_000;
/** The same for a tab that nobody sees. */
const WAIT_HIDDEN_MS = 30_000;

/** Waits until the daemon is there, or what waits for it is given up. */
export function whileAway(signal: AbortSignal): Promise<void> {
  return new Promise((wake) => {
    const over = () => {
      leave();
      signal.removeEventListener("abort", over);
      wake();
    };
    const leave = away.look((since) => since === null && over());
    signal.addEventListener("abort", over);
    if (away.get() === null || signal.aborted) over();
  });
}

export function isThere(): void {
  away.set(null);
}

export function isAway(): void {
  if (away.get() !== null) return;
  away.set(Date.now());
  void probe(WAIT_MS);
}

async function probe(wait: number): Promise<void> {
  await sleep(document.hidden ? WAIT_HIDDEN_MS : wait);
  if (away.get() === null) return;
  try {
    const { ok } = await fetch("/healthz", { cache: "no-store", signal: AbortSignal.timeout(WAIT_MAX_MS) });
    if (ok) return isThere();
  } catch {
    // It is away still.
  }
  void probe(Math.min(wait * 1.5, WAIT_MAX_MS));
}

/** Sleeps, but no longer than until somebody looks at the page again. */
function sleep(ms: number): Promise<void> {
  return new Promise((wake) => {
    const over = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
      wake();
    };
    const seen = () => document.hidden || over();
    const timer = setTimeout(over, ms);
    document.addEventListener("visibilitychange", seen);
  });
}
