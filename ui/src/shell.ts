// Commands for the terminal, and texts of strangers made harmless to read.

import type { SilenceMatcher } from "./types.ts";

/** What moves the cursor or turns the direction of what follows is shown as its code instead. */
export function visible(text: string): string {
  return text.replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (c) => `\\u{${c.charCodeAt(0).toString(16)}}`,
  );
}

/** One word of a POSIX shell, whatever is in it. */
export function word(text: string): string {
  return /^[\w@%+:,./=-]+$/.test(text) ? text : `'${text.replace(/'/g, "'\\''")}'`;
}

const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

/** A matcher as Alertmanager reads it: `server=app/2`, quoted where it must be. */
export function matcher({ name, value, isRegex, isEqual = true }: SilenceMatcher): string {
  const quoted = (text: string) => `"${text.replace(/[\\"]/g, "\\$&").replace(/\n/g, "\\n")}"`;
  const left = /^[a-zA-Z_]\w*$/.test(name) ? name : quoted(name);
  const right = /^[\w./:@%+-]+$/.test(value) ? value : quoted(value);
  return `${left}${isEqual ? "=" : "!"}${isRegex ? "~" : isEqual ? "" : "="}${right}`;
}

/** What silences one alert; none where a label cannot be typed at a terminal. */
export function silenceAdd(labels: Record<string, string>): string | null {
  if (Object.entries(labels).some(([name, value]) => CONTROL.test(name) || CONTROL.test(value))) return null;
  const first = (name: string) => (name === "alertname" ? 0 : 1);
  const matchers = Object.entries(labels)
    .sort(([a], [b]) => first(a) - first(b) || (a < b ? -1 : 1))
    .map(([name, value]) => word(matcher({ name, value, isRegex: false })));
  return `bastide silence add ${matchers.join(" ")} --for 1h --why 'say why'`;
}

/** What the page's search is at the terminal. Every option is one word with its value: none can be taken for another. */
export function logsSearch(asked: Record<string, string>): string {
  const { query, regex, ignore_case, min_seconds, ...rest } = asked;
  const words = ["bastide logs search"];
  for (const name of ["start", "end", "status", "host", "ip", "method", "route"]) {
    const value = rest[name];
    if (value !== undefined) words.push(word(`--${name}=${value}`));
  }
  if (min_seconds !== undefined) words.push(word(`--slower=${Math.round(Number(min_seconds) * 1000)}ms`));
  if (regex !== undefined) words.push("-e");
  if (ignore_case !== undefined) words.push("-i");
  const text = regex ?? query;
  if (text !== undefined) words.push("--", word(text));
  return words.join(" ");
}
