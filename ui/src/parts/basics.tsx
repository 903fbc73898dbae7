// Small pieces that everything else is made of.

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import type { Health } from "../model.ts";
import { visible } from "../shell.ts";

const WORDS: Record<Health, string> = { up: "up", warn: "impaired", down: "down", unknown: "unknown" };

/** Health as shape and word: a disc, a triangle, a square with a cross, a ring. Colour only adds to it. */
export function Mark({ health, word }: { health: Health; word?: string | null }) {
  return (
    <span class={`mark ${health}`}>
      <svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
        {health === "up" && <circle cx="6" cy="6" r="5" class="fill" />}
        {health === "warn" && <path d="M6 .8 11.6 11H.4z" class="fill" />}
        {health === "down" && (
          <>
            <rect x=".8" y=".8" width="10.4" height="10.4" rx="2" class="fill" />
            <path d="m3.8 3.8 4.4 4.4m0-4.4-4.4 4.4" class="cross" />
          </>
        )}
        {health === "unknown" && <circle cx="6" cy="6" r="4.2" class="ring" />}
      </svg>
      {word === null ? <span class="unseen">{WORDS[health]}</span> : <span>{word ?? WORDS[health]}</span>}
    </span>
  );
}

/** A part of the page with its heading. */
export function Panel(props: {
  id: string;
  title: string;
  aside?: ComponentChildren;
  class?: string;
  children: ComponentChildren;
}) {
  return (
    <section class={`panel ${props.class ?? ""}`} aria-labelledby={`${props.id}-title`} id={props.id}>
      <header class="panel-head">
        <h2 id={`${props.id}-title`}>{props.title}</h2>
        {props.aside}
      </header>
      {props.children}
    </section>
  );
}

/** Where nothing is, the reason why. */
export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

/** Something that is made only once it is opened. */
export function Disclosure({ summary, children }: { summary: ComponentChildren; children: ComponentChildren }) {
  const open = useSignal(false);
  return (
    <details onToggle={(e) => (open.value = e.currentTarget.open)}>
      <summary>{summary}</summary>
      {open.value && children}
    </details>
  );
}

/** What is code stands in back-ticks; one without its fellow is only itself. */
export function words(text: string): ComponentChildren {
  const parts = visible(text).split("`");
  const alone = parts.length % 2 === 0 ? parts.length - 1 : -1;
  return parts.map((part, i) => (i === alone ? `\`${part}` : i % 2 === 1 ? <code key={i}>{part}</code> : part));
}

/** Something for the terminal, to be copied. */
export function Command({ text }: { text: string }) {
  const copied = useSignal(false);
  const code = useRef<HTMLElement>(null);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      copied.value = true;
      setTimeout(() => (copied.value = false), 2000);
    } catch {
      // Browsers have a clipboard only for https and localhost: the reader copies what is chosen.
      if (code.current) getSelection()?.selectAllChildren(code.current);
    }
  };
  return (
    <p class="command">
      <code ref={code}>{text}</code>
      <button type="button" onClick={() => void copy()}>
        {copied.value ? "Copied" : "Copy"}
      </button>
      <span class="unseen" role="status">
        {copied.value ? "copied" : ""}
      </span>
    </p>
  );
}

/** A number with its name. */
export function Fact({ name, children, tone }: { name: string; children: ComponentChildren; tone?: Health | undefined }) {
  return (
    <div class={`fact ${tone ?? ""}`}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
