// Which page is shown: the part of the address behind `#`. It stays in the browser, so names of queues and tags are in no server's
// log, the daemon serves one page only, and each page can be reloaded and sent to somebody.

import { useMemo } from "preact/hooks";
import { part } from "./api.ts";
import { useValue, Value } from "./value.ts";

export interface Route {
  /** `["queues", "mails"]` */
  path: string[];
  query: URLSearchParams;
}

function parse(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return { path: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const hash = new Value(location.hash);
addEventListener("hashchange", () => hash.set(location.hash));

export function useRoute(): Route {
  const now = useValue(hash);
  return useMemo(() => parse(now), [now]);
}

export function to(path: (string | number)[], query: Record<string, string | number | undefined> = {}): string {
  const all = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined && value !== "") all.set(key, String(value));
  const text = all.toString();
  return `#/${path.map(part).join("/")}${text === "" ? "" : `?${text}`}`;
}

export const toJob = (id: number): string => to(["jobs", id]);
export const toQueue = (queue: string, state?: string): string => to(["queues", queue], { state });
export const toGroup = (group: string): string => to(["groups", group]);

export function go(address: string): void {
  location.hash = address;
}
