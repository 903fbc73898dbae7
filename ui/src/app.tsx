// Bastide's dashboard. Read from top to bottom: what the page is made of, then
// what makes it live. It only reads: whatever it shows, `bastide` shows too.

import { render } from "preact";
import { Alerts } from "./parts/alerts.tsx";
import { Charts } from "./parts/charts.tsx";
import { Drawing } from "./parts/drawing.tsx";
import { Events } from "./parts/events.tsx";
import { Growth } from "./parts/growth.tsx";
import { Header, Notices, Vitals } from "./parts/header.tsx";
import { Logs } from "./parts/logs.tsx";
import { Probes } from "./parts/probes.tsx";
import { Certificates, Databases, Servers } from "./parts/tables.tsx";
import { Waf } from "./parts/waf.tsx";
import { staleness, start } from "./state.ts";
import { startTheme } from "./theme.ts";

function Page() {
  return (
    <>
      <Header />
      <main class={staleness.value === null ? "" : "old"}>
        <Notices />
        <Vitals />
        <Drawing />
        <Charts />
        <div class="halves">
          <Servers />
          <Databases />
        </div>
        <div class="halves">
          <Alerts />
          <div class="column">
            <Growth />
            <Probes />
            <Certificates />
          </div>
        </div>
        <Logs />
        <Waf />
        <Events />
      </main>
    </>
  );
}

startTheme();
const root = document.getElementById("page");
if (root) render(<Page />, root);
start();
