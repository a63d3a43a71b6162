// What is typed into the search, and what is asked for by it: `42`, `order=7`, `key:customer-7`, `queue:mails`, `state:dead`,
// `group:album-7`, `error:"status 503"`, several with blanks between them. A word alone is a state, a queue, or else a key.

import type { Filter } from "./parts.tsx";
import { STATES } from "./types.ts";

const FIELDS = ["queue", "state", "key", "group", "error"] as const;

export type Search = { id: number } | { filter: Filter; wrong?: string };

/** Words; what is in quotation marks is one. */
const words = (text: string): string[] => text.match(/(?:[^\s"]|"[^"]*")+/g)?.map((word) => word.replaceAll('"', "")) ?? [];

export function understand(text: string, queues: string[]): Search {
  const all = words(text.trim());
  if (all.length === 1 && /^#?\d+$/.test(all[0]!)) return { id: Number(all[0]!.replace("#", "")) };
  const filter: Filter = {};
  const tags: string[] = [];
  for (const word of all) {
    const [, field, value] = /^(\w+):(.+)$/s.exec(word) ?? [];
    const named = FIELDS.find((name) => name === field);
    const is = STATES.find((state) => state === word);
    if (named && value) filter[named] = value;
    else if (/^[^=]+=/.test(word)) tags.push(word);
    else if (is && filter.state === undefined) filter.state = is;
    else if (queues.includes(word) && filter.queue === undefined) filter.queue = word;
    else if (filter.key === undefined) filter.key = word;
    else return { filter, wrong: `“${word}”: only one key can be looked for` };
  }
  if (tags.some((tag) => tag.includes(","))) return { filter, wrong: "a tag with a comma cannot be looked for here: musher list --tag can" };
  if (tags.length > 0) filter.tag = tags.join(",");
  if (filter.state !== undefined && !STATES.some((state) => state === filter.state)) {
    return { filter, wrong: `“${filter.state}” is no state: these are ${STATES.join(", ")}` };
  }
  return { filter };
}

/** A value as it is typed. */
export const typed = (text: string): string => (/\s/.test(text) ? `"${text}"` : text);
