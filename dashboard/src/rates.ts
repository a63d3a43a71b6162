// How much goes through the queues just now, from what these pages have asked within the newest half minute.

import type { Queue, Status } from "./types.ts";

const RECENT_MS = 30_000;

/** The looks of that time, each with its moment. */
const recent: { at: number; queues: Map<string, Queue> }[] = [];

export function remember(status: Status, at: number): void {
  recent.push({ at, queues: new Map(status.queues.map((queue) => [queue.queue, queue])) });
  while (recent.length > 2 && at - recent[0]!.at > RECENT_MS) recent.shift();
}

export interface Rates {
  in: number;
  out: number;
  failed: number;
}

/** How many a second, over that half minute; null if that is not known yet. */
export function rates(queue: string): Rates | null {
  const fresh = recent.at(-1);
  const old = recent.find((look) => look.queues.has(queue));
  const [before, after] = [old?.queues.get(queue), fresh?.queues.get(queue)];
  if (!old || !fresh || !before || !after || fresh.at - old.at < 1_000) return null;
  const of = (key: "submitted" | "completed" | "failed") => Math.max(0, after.totals[key] - before.totals[key]) / ((fresh.at - old.at) / 1_000);
  return { in: of("submitted"), out: of("completed"), failed: of("failed") };
}
