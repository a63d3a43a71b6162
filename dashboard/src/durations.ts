// Lengths of time as they are typed: `1h 30m`.

const UNITS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** In milliseconds; none if it is no length of time. */
export function milliseconds(text: string): number | undefined {
  if (!/^(\s*\d+\s*[smhd])+\s*$/.test(text)) return undefined;
  const parts = [...text.matchAll(/(\d+)\s*([smhd])/g)];
  return parts.reduce((sum, [, n, unit]) => sum + Number(n) * UNITS[unit as keyof typeof UNITS], 0);
}
