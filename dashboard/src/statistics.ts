// The history of queues, as the daemon tells it.

import { get, query } from "./api.ts";
import { type Live, useLive } from "./live.ts";
import type { Counted, Latency, QueueStats, Series, Stats } from "./types.ts";

export function useHistory(sinceMs: number, queue?: string): Live<Stats> {
  const everyMs = sinceMs <= 3_600_000 ? 10_000 : 60_000;
  return useLive((signal) => get<Stats>(`/stats${query({ since_ms: sinceMs, queue })}`, signal), { everyMs, concerns: () => false }, [sinceMs, queue]);
}

function combined(all: Series[], by: (one: number, other: number) => number): Series {
  const length = Math.max(0, ...all.map((series) => series.length));
  return Array.from({ length }, (_, step) => {
    const known = all.map((series) => series[step]).filter((value) => value != null);
    return known.length === 0 ? null : known.reduce((one, other) => by(one, other));
  });
}

/** So many a second, over all queues. */
export function perSecond({ step_ms, queues }: Stats, key: Counted): Series {
  const sum = combined(queues.map((queue) => queue[key]), (one, other) => one + other);
  return sum.map((n) => (n === null ? null : n / (step_ms / 1_000)));
}

/** The longest over all queues: what is half or a hundredth of all jobs cannot be told from what it is of each queue. */
export const slowest = ({ queues }: Stats, key: Latency): Series => combined(queues.map((queue) => queue[key]), Math.max);

export const depth = ({ queues }: Stats): Series => combined(queues.map((queue) => queue.ready), (one, other) => one + other);

export const sum = (series: Series): number => series.reduce<number>((all, n) => all + (n ?? 0), 0);

/** What failed most: queues by their failures. */
export function mostFailed(stats: Stats): { queue: string; failed: number; dead: number }[] {
  const of = (queue: QueueStats) => ({ queue: queue.queue, failed: sum(queue.failed), dead: sum(queue.dead) });
  return stats.queues.map(of).filter(({ failed, dead }) => failed + dead > 0).sort((one, other) => other.failed + other.dead - one.failed - one.dead);
}
