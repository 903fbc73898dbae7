// Numbers and times as a tired operator reads them: short, aligned, with a unit.
// `null` stands for "not known", and is written as an en dash.

export type Maybe = number | null;

const UNKNOWN = "–";
/** No break between a number and its unit. */
const NB = "\u00a0";

/** Three significant digits, thousands grouped: `0.04`, `1.24`, `12.4`, `1,240`. */
function digits(n: number): string {
  const size = Math.abs(n);
  if (size >= 100 || Number.isInteger(n)) return Math.round(n).toLocaleString("en-US");
  if (size >= 10) return n.toFixed(1);
  return n.toFixed(2);
}

/** A count, `12.4 k` from ten thousand. */
export function count(n: Maybe): string {
  if (n === null) return UNKNOWN;
  const size = Math.abs(n);
  if (size >= 1e9) return `${digits(n / 1e9)}${NB}G`;
  if (size >= 1e6) return `${digits(n / 1e6)}${NB}M`;
  if (size >= 1e4) return `${digits(n / 1e3)}${NB}k`;
  return digits(n);
}

/** A rate without its "per second". What is too rare for two places is still not nothing. */
export function rate(n: Maybe): string {
  if (n !== null && n > 0 && n < 0.005) return "<0.01";
  return count(n);
}

/** A number of which nothing is known but that it is one: three significant digits whatever its size. */
export function value(n: Maybe): string {
  if (n === null || Number.isNaN(n)) return UNKNOWN;
  if (!Number.isFinite(n)) return n > 0 ? "∞" : "−∞";
  const size = Math.abs(n);
  if (size > 0 && size < 0.01) return size < 1e-4 ? n.toExponential(2) : String(Number(n.toPrecision(3)));
  return size >= 1e12 ? n.toExponential(2) : count(n);
}

/** A share as per cent: `0 %`, `0.02 %`, `1.3 %`, `41 %`. */
export function percent(ratio: Maybe): string {
  if (ratio === null) return UNKNOWN;
  const p = ratio * 100;
  if (p === 0) return `0${NB}%`;
  if (p > 0 && p < 0.01) return `<0.01${NB}%`;
  if (p < 1) return `${p.toFixed(2)}${NB}%`;
  if (p < 10) return `${p.toFixed(1)}${NB}%`;
  return `${Math.round(p)}${NB}%`;
}

/** A duration in seconds, from `0.2 ms` over `38 ms` and `1.24 s` to `3 d 4 h`. */
export function duration(seconds: Maybe): string {
  if (seconds === null) return UNKNOWN;
  if (seconds < 0) return `−${duration(-seconds)}`;
  if (seconds === 0) return `0${NB}s`;
  if (seconds < 0.9995) {
    const ms = seconds * 1e3;
    return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)}${NB}ms`;
  }
  if (seconds < 9.995) return `${seconds.toFixed(2)}${NB}s`;
  if (seconds < 59.5) return `${Math.round(seconds)}${NB}s`;
  const parts: [number, string][] = [
    [86400, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ];
  let rest = Math.round(seconds);
  const first = parts.findIndex(([size]) => rest >= size);
  return parts
    .slice(first, first + 2)
    .map(([size, unit]) => {
      const n = Math.floor(rest / size);
      rest -= n * size;
      return n > 0 ? `${n}${NB}${unit}` : "";
    })
    .filter(Boolean)
    .join(" ");
}

/** Bytes in powers of 1000, as disks and networks are sold. */
export function bytes(n: Maybe): string {
  if (n === null) return UNKNOWN;
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  while (Math.abs(n) >= 999.5 && unit < units.length - 1) {
    n /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(n) : digits(n)}${NB}${units[unit]}`;
}

/** How long ago, in one unit. */
export function ago(seconds: Maybe): string {
  if (seconds === null) return "never";
  if (seconds < 1.5) return "now";
  if (seconds < 90) return `${Math.round(seconds)}${NB}s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)}${NB}min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)}${NB}h ago`;
  return `${Math.round(seconds / 86400)}${NB}d ago`;
}

const two = (n: number) => String(n).padStart(2, "0");

/** A time of day, `06:45:09`, in the reader's own zone. */
export function clock(ms: number): string {
  const t = new Date(ms);
  return `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
}

/** A date, `23 Nov 2026`. */
export function date(ms: number): string {
  return new Date(ms).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}

/** When an event was: today only its time of day. */
export function when(ms: number, nowMs: number): string {
  const sameDay = new Date(ms).toDateString() === new Date(nowMs).toDateString();
  return sameDay ? clock(ms) : `${date(ms)} ${clock(ms)}`;
}

/** A tick of a time axis: the day where one begins, else the time of day; seconds only where they differ. */
export function tick(s: number, step: number): string {
  const t = new Date(s * 1000);
  if (step >= 86400 || (t.getHours() === 0 && t.getMinutes() === 0 && t.getSeconds() === 0)) {
    return t.toLocaleDateString("en-GB", { weekday: "short", day: "numeric" });
  }
  const minutes = `${two(t.getHours())}:${two(t.getMinutes())}`;
  return step < 60 ? `${minutes}:${two(t.getSeconds())}` : minutes;
}
