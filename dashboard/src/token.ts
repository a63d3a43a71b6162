// The token that requests carry. It is kept in sessionStorage: that ends with the tab, as what localStorage has
// would not, and is never sent by the browser on its own, as a cookie would be, so no page of another site can use it. A second tab of these pages
// asks the first one for it, and is told it if the daemon knows it; what signs out signs all of them out.

import { Value } from "./value.ts";

const PLACE = "musher.token";

function stored(): string | null {
  try {
    return sessionStorage.getItem(PLACE);
  } catch {
    return null; // storage is switched off: then it is typed after each reload
  }
}

function store(text: string | null): void {
  try {
    if (text === null) sessionStorage.removeItem(PLACE);
    else sessionStorage.setItem(PLACE, text);
  } catch {
    // as above
  }
}

export const token = new Value<string | null>(stored());

/** Why there is no token any more, for people. */
export const refused = new Value<string | null>(null);

/** The newest token that the daemon has answered, and the newest that it did not know. */
let good: string | null = null;
let bad: string | null = null;

type Told = { ask: true } | { token: string } | { out: true };

const tabs = new BroadcastChannel(PLACE);
const tell = (what: Told) => tabs.postMessage(what);

tabs.onmessage = ({ data }: MessageEvent<Told>) => {
  const own = token.get();
  if ("ask" in data && own !== null && own === good) tell({ token: own });
  if ("token" in data && own === null && data.token !== bad) signIn(data.token);
  if ("out" in data) forget(null);
};

if (token.get() === null) tell({ ask: true });

export function signIn(text: string): void {
  store(text);
  refused.set(null);
  token.set(text);
}

function forget(why: string | null): void {
  store(null);
  good = null;
  refused.set(why);
  token.set(null);
}

/** The daemon knows this token: the other tabs may have it. */
export function isGood(text: string): void {
  if (text === good || text !== token.get()) return;
  good = text;
  tell({ token: text });
}

export function signOut(): void {
  forget(null);
  tell({ out: true });
}

/** The daemon does not know this token; another one may have come meanwhile, here or in another tab. */
export function isRefused(text: string, why: string): void {
  if (token.get() !== text) return;
  bad = text;
  forget(why);
  tell({ ask: true });
}
