// What time it is at the daemon. Browser and daemon may be on two machines with a tunnel between them, so a clock that differs by
// more than the header of an answer can tell is set right.

import { useEffect, useState } from "preact/hooks";

/** `Date` has whole seconds, and an answer takes its time. */
const NOT_NOTICED_MS = 3_000;

let aheadMs = 0;

export function setServerTime(date: string | null): void {
  const at = date === null ? NaN : Date.parse(date);
  if (Number.isNaN(at)) return;
  const ahead = at + 500 - Date.now();
  if (Math.abs(ahead - aheadMs) > NOT_NOTICED_MS) aheadMs = Math.abs(ahead) > NOT_NOTICED_MS ? ahead : 0;
}

export const now = (): number => Date.now() + aheadMs;

const tickers = new Set<() => void>();

setInterval(() => {
  if (!document.hidden) for (const tick of [...tickers]) tick();
}, 1_000);

/** The time, each second a new one. */
export function useNow(): number {
  const [at, setAt] = useState(now());
  useEffect(() => {
    const tick = () => setAt(now());
    tickers.add(tick);
    return () => void tickers.delete(tick);
  }, []);
  return at;
}
