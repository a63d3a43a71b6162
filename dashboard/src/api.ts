// Asks the daemon. An answer that is an error has its sentence. That nothing can be asked at all means that the daemon is away; that
// one answer is late, or breaks off, says something of this request alone.

import { setServerTime } from "./clock.ts";
import { isAway, isThere } from "./connection.ts";
import { isGood, isRefused, token } from "./token.ts";

/** How long an answer may take. */
const PATIENCE_MS = 20_000;

/** What the daemon says is wrong. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** There was no answer. */
export class Away extends Error {
  constructor() {
    super("the daemon does not answer");
  }
}

/** Whether what was asked for is not there, or not any more. */
export const isGone = (error: unknown): boolean => error instanceof Refused && error.status === 404;

interface Ask {
  method?: string;
  body?: string | undefined;
  signal?: AbortSignal;
  /** It is read as it comes, as long as it comes. */
  isStream?: boolean;
}

export async function send(path: string, ask: Ask = {}): Promise<Response> {
  const own = token.get();
  if (own === null) throw new Refused(401, "unauthorized", "there is no token");
  const signals = [...(ask.signal ? [ask.signal] : []), ...(ask.isStream ? [] : [AbortSignal.timeout(PATIENCE_MS)])];
  const request: RequestInit = {
    method: ask.method ?? "GET",
    headers: { Authorization: `Bearer ${own}` },
    signal: AbortSignal.any(signals),
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
  };
  if (ask.body !== undefined) request.body = ask.body;
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, request);
  } catch (error) {
    if (ask.signal?.aborted) throw error;
    if (isLate(error)) throw late();
    isAway();
    throw new Away();
  }
  isThere();
  setServerTime(response.headers.get("Date"));
  if (!response.ok) throw await refusal(response, own);
  isGood(own);
  return response;
}

const isLate = (error: unknown): boolean => error instanceof DOMException && error.name === "TimeoutError";
const late = () => new Error(`the daemon has not answered within ${PATIENCE_MS / 1_000} s`);

async function refusal(response: Response, own: string): Promise<Error> {
  let code = "unknown";
  let message = `the daemon answers with status ${response.status}`;
  try {
    const { error } = await response.json();
    code = String(error.code);
    message = String(error.message);
  } catch {
    // It is not the daemon's own error; the status is all there is to say.
  }
  if (response.status === 401) isRefused(own, message);
  return new Refused(response.status, code, message);
}

/** Reads the whole of an answer. */
async function read<T>(response: Response, as: (response: Response) => Promise<T>, signal?: AbortSignal): Promise<T> {
  try {
    return await as(response);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw isLate(error) ? late() : new Error("the daemon's answer broke off");
  }
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return read(await send(path, { ...(signal && { signal }) }), (response) => response.json() as Promise<T>, signal);
}

export async function bytes(path: string, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  return read(await send(path, { signal }), async (response) => new Uint8Array(await response.arrayBuffer()), signal);
}

/** Asks for a change. What has nothing to say answers with null. */
export async function change<T>(method: string, path: string, body?: unknown): Promise<T | null> {
  const text = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
  const response = await send(path, { method, body: text });
  return response.status === 204 ? null : read(response, (response) => response.json() as Promise<T>);
}

/** A part of an address. */
export const part = (text: string | number): string => encodeURIComponent(text);

/** What stands behind the `?`, of that which is there. */
export function query(of: Record<string, string | number | boolean | undefined | null>): string {
  const all = new URLSearchParams();
  for (const [key, value] of Object.entries(of)) {
    if (value !== undefined && value !== null && value !== "") all.set(key, String(value));
  }
  const text = all.toString();
  return text === "" ? "" : `?${text}`;
}
