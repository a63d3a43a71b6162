// Plots of what went through the queues, all of them or one.

import { count, duration, rate, short, tick } from "../format.ts";
import type { Live } from "../live.ts";
import { Fault } from "../parts.tsx";
import { Plot } from "../plot.tsx";
import { to } from "../route.ts";
import { depth, perSecond, slowest } from "../statistics.ts";
import type { Stats } from "../types.ts";

/** What can be looked back at. */
const SPANS: [string, number, string][] = [
  ["15m", 900_000, "15 minutes"],
  ["1h", 3_600_000, "hour"],
  ["6h", 21_600_000, "6 hours"],
  ["24h", 86_400_000, "24 hours"],
];

/** `hour`, `6 hours`. */
export const spanInWords = (span: number): string => SPANS.find(([, ms]) => ms === span)![2];

export const spanOf = (query: URLSearchParams): number => SPANS.find(([name]) => name === query.get("since"))?.[1] ?? 3_600_000;

interface Props {
  queue?: string;
  history: Live<Stats>;
  path: (string | number)[];
  query: URLSearchParams;
}

export function History({ queue, history: { data, error }, path, query }: Props) {
  const span = spanOf(query);
  const kept = Object.fromEntries([...query].filter(([key]) => key !== "since"));
  const nothing = data === undefined ? "…" : "nothing known of this time yet";
  const stats: Stats = data ?? { from_ms: Date.now() - span, step_ms: 10_000, queues: [] };
  const common = { fromMs: stats.from_ms, stepMs: stats.step_ms, nothing };
  return (
    <section aria-labelledby="history">
      <div class="head">
        <h2 id="history">Over time</h2>
        <nav class="choice" aria-label="How far back">
          {SPANS.map(([name, ms]) => (
            <a key={name} href={to(path, { ...kept, since: name })} aria-current={ms === span ? "true" : undefined}>
              {name}
            </a>
          ))}
        </nav>
      </div>
      <Fault error={error} />
      {data?.left_out !== undefined && (
        <p class="hint">
          {data.left_out === 1 ? "1 queue is" : `${count(data.left_out)} queues are`} not in these numbers, nor in what failed most: the answer would be too long. These are the busiest ones; each queue's own page has its numbers.
        </p>
      )}
      <div class="plots">
        <Plot
          {...common}
          title="Throughput"
          least={1}
          shown={rate}
          lines={[
            { name: "submitted", colour: "waiting", values: perSecond(stats, "submitted"), isDashed: true },
            { name: "completed", colour: "done", values: perSecond(stats, "completed") },
          ]}
        />
        <Plot
          {...common}
          title="Failures"
          least={0.1}
          shown={rate}
          lines={[
            { name: "failed", colour: "expired", values: perSecond(stats, "failed") },
            { name: "dead", colour: "dead", values: perSecond(stats, "dead"), isDashed: true },
          ]}
        />
        {queue === undefined ? (
          <Plot
            {...common}
            title="Latency: p99, slowest queue"
            least={10}
            shown={duration} tick={tick}
            lines={[
              { name: "wait", colour: "waiting", values: slowest(stats, "wait_p99_ms"), isDashed: true },
              { name: "run", colour: "leased", values: slowest(stats, "run_p99_ms") },
            ]}
          />
        ) : (
          <>
            <Plot
              {...common}
              title="Wait"
              least={10}
              shown={duration} tick={tick}
              lines={[
                { name: "p50", colour: "leased", values: slowest(stats, "wait_p50_ms") },
                { name: "p99", colour: "waiting", values: slowest(stats, "wait_p99_ms"), isDashed: true },
              ]}
            />
            <Plot
              {...common}
              title="Run"
              least={10}
              shown={duration} tick={tick}
              lines={[
                { name: "p50", colour: "leased", values: slowest(stats, "run_p50_ms") },
                { name: "p99", colour: "waiting", values: slowest(stats, "run_p99_ms"), isDashed: true },
              ]}
            />
          </>
        )}
        <Plot {...common} title="Ready jobs" least={10} shown={short} lines={[{ name: "ready", colour: "ready", values: depth(stats) }]} />
      </div>
    </section>
  );
}
