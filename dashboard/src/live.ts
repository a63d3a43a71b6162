// What is shown is asked for again and again, each kind with at most one request under way: every so often, sooner when the daemon
// says that something has changed, seldom while nobody sees the tab, and not at all while the daemon is away. What takes long to answer
// is asked for so seldom that the daemon has a tenth of its time for it at most.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { Away, isGone } from "./api.ts";
import { away } from "./connection.ts";

/** How often what nobody sees is asked for. */
const HIDDEN_MS = 30_000;
/** And what is not there, or not any more. */
const GONE_MS = 30_000;
/** However much happens: not sooner than this after the last answer, and not sooner than so many times what that one took. */
const SOONEST_MS = 700;
const REST = 10;
/** What failed, after how long ever, counts as taking no more than this. */
const FAILED_MS = 3_000;

const hinted = new Set<(queue?: string, job?: number) => void>();

/** Something has changed: with a job, or with anything. */
export function hint(queue?: string, job?: number): void {
  for (const told of [...hinted]) told(queue, job);
}

export interface Live<T> {
  /** The newest answer, if there was one. */
  data: T | undefined;
  /** Why the newest request had none. The data is of before then. */
  error: Error | undefined;
  /** Asks at once. */
  again: () => void;
}

interface How<T> {
  everyMs: number;
  /** Not sooner than this after the last answer, whatever changes. */
  soonestMs?: number;
  /** Whether a change of this job, in this queue, matters. Without it each does. */
  concerns?: (queue?: string, job?: number) => boolean;
  /** Asked again soon when this is another; what is under way goes on. */
  of?: string;
  /** Whether this answer is enough: then it is asked for again only if `of` is another, or somebody wants it. */
  isEnough?: (data: T) => boolean;
  /** Whether the answer to other inputs is shown until there is one to these. */
  keepsOld?: boolean;
}

interface Found<T> {
  /** The inputs that it is an answer to. */
  to: string;
  data?: T;
  error?: Error;
}

/** Asks as long as what shows it is there. `inputs`: what the question is made of. */
export function useLive<T>(ask: (signal: AbortSignal) => Promise<T>, how: How<T>, inputs: (string | number | undefined)[]): Live<T> {
  const to = JSON.stringify(inputs);
  const [found, setFound] = useState<Found<T>>({ to });
  const newest = useRef({ ask, how });
  newest.current = { ask, how };
  const asker = useRef<Asker<T> | null>(null);
  useEffect(() => {
    const own = new Asker<T>(newest, (tell) => setFound((before) => ({ ...tell(before.to === to || newest.current.how.keepsOld ? before.data : undefined), to })));
    asker.current = own;
    return () => own.end();
  }, [to]);
  const again = useCallback(() => asker.current?.soon(0), []);
  const isFirst = useRef(true);
  useEffect(() => {
    if (!isFirst.current) asker.current?.soon();
    isFirst.current = false;
  }, [how.of]);
  const isShown = found.to === to || how.keepsOld;
  return { data: isShown ? found.data : undefined, error: isShown ? found.error : undefined, again };
}

class Asker<T> {
  private timer = 0;
  private due = Infinity;
  private isBusy = false;
  /** After how long it is to be asked again, if that was said while it was asked. */
  private wanted: number | "soonest" | null = null;
  private isHinted = false;
  private isOver = false;
  private isEnough = false;
  private answeredAt = 0;
  private tookMs = 0;
  private readonly ending = new AbortController();
  private readonly leave: () => void;

  constructor(
    private readonly newest: { current: { ask: (signal: AbortSignal) => Promise<T>; how: How<T> } },
    private readonly tell: (found: (before: T | undefined) => { data?: T; error?: Error }) => void,
  ) {
    const seen = () => (document.hidden ? this.late() : this.soon(0));
    const changed = (queue?: string, job?: number) => {
      const { concerns } = this.newest.current.how;
      if (concerns && queue !== undefined && !concerns(queue, job)) return;
      if (this.isBusy) this.isHinted = true;
      else if (!this.isEnough) this.soon();
    };
    const leaveAway = away.look((since) => since === null && this.soon(0));
    document.addEventListener("visibilitychange", seen);
    hinted.add(changed);
    this.leave = () => {
      leaveAway();
      document.removeEventListener("visibilitychange", seen);
      hinted.delete(changed);
    };
    void this.run();
  }

  end(): void {
    this.isOver = true;
    clearTimeout(this.timer);
    this.leave();
    this.ending.abort();
  }

  /** Asks when so much time has passed since the last answer, if that is sooner than it would be anyway. */
  soon(after: number | "soonest" = "soonest"): void {
    if (this.isOver || (document.hidden && after !== 0)) return;
    if (this.isBusy) {
      if (this.wanted !== 0) this.wanted = after;
      return;
    }
    this.at(Math.max(Date.now(), this.answeredAt + (after === "soonest" ? this.soonestMs() : after)));
  }

  private soonestMs(): number {
    return Math.max(this.newest.current.how.soonestMs ?? SOONEST_MS, REST * this.tookMs);
  }

  /** Nobody sees it any more. */
  private late(): void {
    if (this.isBusy || this.due === Infinity) return;
    this.due = Infinity;
    this.at(this.answeredAt + Math.max(HIDDEN_MS, this.newest.current.how.everyMs));
  }

  private at(due: number): void {
    if (due >= this.due) return;
    this.due = due;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.run(), due - Date.now());
  }

  private async run(): Promise<void> {
    this.due = Infinity;
    if (this.isOver || this.isBusy || away.get() !== null) return;
    this.isBusy = true;
    [this.wanted, this.isHinted, this.isEnough] = [null, false, false];
    let [leastMs, mostMs] = [0, Infinity];
    const begunAt = Date.now();
    try {
      const data = await this.newest.current.ask(this.ending.signal);
      this.isEnough = this.newest.current.how.isEnough?.(data) ?? false;
      if (!this.isOver) this.tell(() => ({ data }));
    } catch (error) {
      if (isGone(error)) leastMs = GONE_MS;
      mostMs = FAILED_MS;
      const known = error as Error;
      // The banner says that the daemon is away; what was known stays.
      if (!this.isOver) this.tell((data) => ({ ...(data !== undefined && { data }), ...(!(known instanceof Away) && { error: known }) }));
    }
    if (document.hidden) leastMs = Math.max(leastMs, HIDDEN_MS);
    this.isBusy = false;
    this.answeredAt = Date.now();
    this.tookMs = Math.min(this.answeredAt - begunAt, mostMs);
    if (this.isOver) return;
    if (!this.isEnough) this.at(this.answeredAt + Math.max(this.newest.current.how.everyMs, leastMs, this.soonestMs()));
    if (this.wanted !== null) this.soon(this.wanted);
    else if (this.isHinted && !this.isEnough) this.soon();
  }
}
