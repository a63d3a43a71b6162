// A plot of numbers over time, as SVG: a few lines, ticks, and what they are at the moment that is pointed at. It is small enough to
// be our own: a library for plots has half as many bytes as all of these pages, draws on a canvas, and tells a screen reader nothing.

import { useEffect, useRef, useState } from "preact/hooks";
import { day, exact, time } from "./format.ts";
import type { Series } from "./types.ts";

export interface Line {
  name: string;
  /** Of a custom property of the style sheet: `ready` is `--ready`. */
  colour: string;
  values: Series;
  isDashed?: boolean;
}

interface Props {
  title: string;
  /** What is missing, if there is nothing to show. */
  nothing: string;
  fromMs: number;
  stepMs: number;
  lines: Line[];
  shown: (value: number) => string;
  /** The same beside the scale, where it has to be short. */
  tick?: (value: number) => string;
  /** The least upper end of the scale. */
  least: number;
}

const HEIGHT = 132;
const LEFT = 52;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 20;
/** A label has room for this much on both sides of its tick. */
const HALF_LABEL = 18;

const TICKS_MS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720].map((minutes) => minutes * 60_000);

/** The next number of the kind 1, 2, 5, 10, 20, … */
function round(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= most * 0.999_999) ?? 10);
}

export function Plot({ title, nothing, fromMs, stepMs, lines, shown, tick: short = shown, least }: Props) {
  const frame = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(480);
  const [pointed, setPointed] = useState<number | null>(null);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => entry && setWidth(Math.max(200, Math.floor(entry.contentRect.width))));
    watch.observe(frame.current!);
    return () => watch.disconnect();
  }, []);
  const steps = Math.max(2, ...lines.map((line) => line.values.length));
  const numbers = lines.flatMap((line) => line.values.filter((value) => value !== null));
  const top = round(Math.max(least, ...numbers));
  const x = (step: number) => LEFT + (step / (steps - 1)) * (width - LEFT - RIGHT);
  const y = (value: number) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
  const path = (values: Series) => {
    let text = "";
    values.forEach((value, step) => {
      if (value === null) return;
      const isFirst = step === 0 || values[step - 1] === null;
      const at = `${x(step).toFixed(1)} ${y(value).toFixed(1)}`;
      // A single point is a short line.
      text += isFirst ? `M${at}${values[step + 1] == null ? "h2" : ""}` : `L${at}`;
    });
    return text;
  };
  const span = (steps - 1) * stepMs;
  const tickMs = TICKS_MS.find((ms) => span / ms <= (width < 420 ? 4 : 7)) ?? TICKS_MS.at(-1)!;
  const offset = new Date(fromMs).getTimezoneOffset() * 60_000;
  const firstTick = Math.ceil((fromMs - offset) / tickMs) * tickMs + offset;
  const ticks = [];
  for (let at = firstTick; at <= fromMs + span; at += tickMs) ticks.push(at);
  const point = (event: PointerEvent) => {
    const { left } = frame.current!.getBoundingClientRect();
    const step = Math.round(((event.clientX - left - LEFT) / (width - LEFT - RIGHT)) * (steps - 1));
    setPointed(Math.min(steps - 1, Math.max(0, step)));
  };
  const newest = (values: Series) => values.findLast((value) => value !== null) ?? null;
  const at = pointed === null ? null : fromMs + pointed * stepMs;
  const valueOf = (line: Line) => (pointed === null ? newest(line.values) : (line.values[pointed] ?? null));
  const said = lines.map((line) => `${line.name}: ${describe(line.values, shown)}`).join("; ");
  return (
    <figure class="plot">
      <figcaption>
        <h3>{title}</h3>
        <span class="when">{at === null ? "now" : time(at, Date.now())}</span>
        <ul class="legend">
          {lines.map((line) => {
            const value = valueOf(line);
            return (
              <li key={line.name}>
                <i class={line.isDashed ? "dash" : undefined} style={{ color: `var(--${line.colour})` }} />
                {line.name} <b>{value === null ? "–" : shown(value)}</b>
              </li>
            );
          })}
        </ul>
      </figcaption>
      <div ref={frame}>
        <svg role="img" aria-label={`${title}. ${numbers.length === 0 ? nothing : said}`} width={width} height={HEIGHT} viewBox={`0 0 ${width} ${HEIGHT}`} onPointerMove={point} onPointerLeave={() => setPointed(null)}>
          {(numbers.length === 0 ? [0] : [0, top / 2, top]).map((value) => (
            <g key={value} class="scale">
              <line x1={LEFT} x2={width - RIGHT} y1={y(value)} y2={y(value)} />
              <text x={LEFT - 6} y={y(value) + 4} text-anchor="end">
                {value === 0 ? "0" : short(value)}
              </text>
            </g>
          ))}
          {ticks.map((moment) => {
            const at = x((moment - fromMs) / stepMs);
            const isAtEnd = at > width - HALF_LABEL;
            return (
              <text key={moment} class="tick" x={isAtEnd ? width : at} y={HEIGHT - 4} text-anchor={isAtEnd ? "end" : "middle"}>
                {label(moment)}
              </text>
            );
          })}
          {lines.map((line) => (
            <path key={line.name} class="line" d={path(line.values)} stroke={`var(--${line.colour})`} stroke-dasharray={line.isDashed ? "4 3" : undefined} />
          ))}
          {pointed !== null && <line class="pointed" x1={x(pointed)} x2={x(pointed)} y1={TOP} y2={HEIGHT - BOTTOM} />}
          {numbers.length === 0 && (
            <text class="nothing" x={(LEFT + width - RIGHT) / 2} y={(HEIGHT - BOTTOM + TOP) / 2 + 4} text-anchor="middle">
              {nothing}
            </text>
          )}
        </svg>
      </div>
      {at !== null && <span class="unseen">{exact(at)}</span>}
    </figure>
  );
}

function label(at: number): string {
  const own = new Date(at);
  const isMidnight = own.getHours() === 0 && own.getMinutes() === 0;
  return isMidnight ? day(at).slice(5) : `${String(own.getHours()).padStart(2, "0")}:${String(own.getMinutes()).padStart(2, "0")}`;
}

function describe(values: Series, shown: (value: number) => string): string {
  const known = values.filter((value) => value !== null);
  const last = known.at(-1);
  return last === undefined ? "unknown" : `now ${shown(last)}, at most ${shown(Math.max(...known))}`;
}
