// Dead jobs by what was said of them. Errors that differ in numbers and ids alone are one kind.

import { get, query } from "./api.ts";
import type { Job, Jobs, Queue } from "./types.ts";

export interface Kind {
  queue: string;
  /** With `…` where they differ. */
  error: string;
  /** One of them, to the letter. */
  example: string;
  ids: number[];
  /** How many of them failed within the last hour. */
  lately: number;
  newest: number;
}

export interface Dead {
  kinds: Kind[];
  /** How many were looked at; there may be more. */
  seen: number;
  isPart: boolean;
}

/** So many are looked at in all. */
const MOST = 50_000;
const PAGE = 1_000;
const HOUR_MS = 3_600_000;

/** What errors of a kind have in common: what stands in for numbers, addresses and ids is left out. */
export function common(error: string): string {
  return error
    .split("\n", 1)[0]!
    .replace(/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gi, "…")
    .replace(/\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b/gi, "…")
    // The numbers of a status or a signal say what it is.
    .replace(/(status|signal|code|HTTP|port)[ :=]*\d+|\d+(?:[.:,]\d+)*/gi, (all, named) => (named ? all : "…"))
    .slice(0, 300);
}

export async function deadByError(queues: Queue[], now: number, signal: AbortSignal): Promise<Dead> {
  const kinds = new Map<string, Kind>();
  let seen = 0;
  for (const { queue } of queues.filter(({ dead }) => dead > 0)) {
    let before: number | undefined;
    do {
      const { jobs, next }: Jobs = await get(`/jobs${query({ queue, state: "dead", newest: true, before, limit: PAGE })}`, signal);
      for (const job of jobs) add(kinds, job, now);
      seen += jobs.length;
      before = next;
      if (seen >= MOST) return { kinds: ordered(kinds), seen, isPart: true };
    } while (before !== undefined);
  }
  return { kinds: ordered(kinds), seen, isPart: false };
}

function add(kinds: Map<string, Kind>, job: Job, now: number): void {
  const failure = job.failures?.at(-1);
  const example = failure?.error ?? "buried by hand, or without an error";
  const error = common(example);
  const name = `${job.queue}\n${error}`;
  const at = failure?.at ?? job.ended_at ?? 0;
  const kind = kinds.get(name) ?? { queue: job.queue, error, example, ids: [], lately: 0, newest: 0 };
  kind.ids.push(job.id);
  kind.newest = Math.max(kind.newest, at);
  if (now - at < HOUR_MS) kind.lately += 1;
  kinds.set(name, kind);
}

const ordered = (kinds: Map<string, Kind>): Kind[] => [...kinds.values()].sort((one, other) => other.lately - one.lately || other.ids.length - one.ids.length || other.newest - one.newest);
