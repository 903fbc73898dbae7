// The words behind a forecast.

import type { Finding } from "./types.ts";

/** The evidence, without what stands beside it already. */
export function evidence({ text, resource, with_another_server }: Finding): string {
  const head = text.startsWith(`${resource}: `) ? text.indexOf("; ", resource.length) : -1;
  const rest = head < 0 ? text : text.slice(head + 2);
  const tail = `; with another server until ${with_another_server}`;
  return with_another_server !== null && rest.endsWith(tail) ? rest.slice(0, -tail.length) : rest;
}
