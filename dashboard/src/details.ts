// What the list of queues does not tell of a queue: its limits. Asked for one queue after the other, and only of queues that are shown.

import { get, part, Refused } from "./api.ts";
import { type Live, useLive } from "./live.ts";
import type { Queue, Settings } from "./types.ts";

const SHOWN: Record<string, (value: string) => string> = {
  rate: (value) => value,
  concurrency: (value) => `${value} at a time`,
  per_key: (value) => `${value} per key`,
  per_key_rate: (value) => `${value} per key`,
};

export function limits({ settings }: Settings): string[] {
  const isSet = (value: string) => !["", "0", "none", "false"].includes(value);
  return settings.flatMap(({ key, value }) => (SHOWN[key] && isSet(value) ? [SHOWN[key](value)] : []));
}

/** Of each queue those that are set: `50/s`, `8 at a time`. */
export type Limits = Map<string, string[]>;

export function useLimits(queues: Queue[]): Live<Limits> {
  const ask = async (signal: AbortSignal) => {
    const found: Limits = new Map();
    for (const { queue } of queues) {
      try {
        found.set(queue, limits(await get<Settings>(`/queues/${part(queue)}/settings`, signal)));
      } catch (error) {
        // One queue may be gone, or its settings not for everybody. That there is no answer is true of all of them.
        if (!(error instanceof Refused)) throw error;
      }
    }
    return found;
  };
  // It costs a request a queue.
  const everyMs = Math.max(5_000, queues.length * 125);
  return useLive(ask, { everyMs, concerns: () => false, of: queues.map(({ queue }) => queue).sort().join("\n") }, []);
}
