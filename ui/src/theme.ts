// Light, dark, or as the system says.

import { signal } from "@preact/signals";
import { recall, remember } from "./state.ts";

export const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const wantsDark = matchMedia("(prefers-color-scheme: dark)");
export const theme = signal<Theme>(THEMES.find((t) => t === recall("theme")) ?? "auto");
/** Counts changes of colour, so that canvases are painted again. */
export const painted = signal(0);

export function setTheme(next: Theme): void {
  theme.value = next;
  remember("theme", next);
  apply();
}

function apply(): void {
  const dark = theme.value === "dark" || (theme.value === "auto" && wantsDark.matches);
  document.documentElement.dataset["theme"] = dark ? "dark" : "light";
  painted.value += 1;
}

export function startTheme(): void {
  wantsDark.addEventListener("change", apply);
  apply();
}

/** A colour of the stylesheet, for canvases. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
