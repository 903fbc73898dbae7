// A headless Chromium that trusts one site's authority and nothing else, and
// what every page of ours is held to.

import { createHash, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect } from "node:tls";
import { chromium } from "playwright-core";

const axe = readFileSync(new URL("./node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Every page is looked at in each of these. */
const LOOKS = [
  { name: "light", colorScheme: "light", viewport: { width: 1280, height: 900 } },
  { name: "dark", colorScheme: "dark", viewport: { width: 1280, height: 900 } },
  { name: "light at 375 px", colorScheme: "light", viewport: { width: 375, height: 800 } },
  { name: "dark at 375 px", colorScheme: "dark", viewport: { width: 375, height: 800 } },
];

/** The environment variable NAME, which must be there. */
export function needed(name) {
  const value = process.env[name];
  if (value) return value;
  console.error(`error: \`${name}\` is not set\nhint: tests/promises/browser.rs starts a site and sets it`);
  process.exit(64);
}

/** The browser. `root` is the file of the authority's root: what it did not sign is an error. */
export async function launch(site, root) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [...FLAGS, `--ignore-certificate-errors-spki-list=${await keyOf(site, root)}`],
  });
}

/** The hash of the site's public key, after Node has verified the chain up to `root`. */
function keyOf(site, root) {
  const { hostname: host, port } = new URL(site);
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), servername: host, ca: readFileSync(root) }, () => {
      const { publicKey } = new X509Certificate(socket.getPeerCertificate().raw);
      socket.end();
      resolve(createHash("sha256").update(publicKey.export({ type: "spki", format: "der" })).digest("base64"));
    });
    socket.on("error", (e) => reject(new Error(`${site} does not show a certificate that ${root} vouches for: ${e.message}`)));
  });
}

/** Counts what held and keeps what did not. */
export class Verdict {
  passed = 0;
  failures = [];

  expect(condition, what) {
    if (condition) this.passed += 1;
    else this.failures.push(what);
  }

  /** Whatever goes wrong on this page by itself is a failure. */
  watch(page, name) {
    page.on("console", (m) => {
      if (m.type() === "error") this.failures.push(`${name}: console: ${m.text()}`);
    });
    page.on("pageerror", (e) => this.failures.push(`${name}: uncaught: ${e}`));
    page.on("requestfailed", (r) => this.failures.push(`${name}: ${r.method()} ${r.url()}: ${r.failure()?.errorText}`));
    page.on("response", (r) => {
      if (r.status() >= 400) this.failures.push(`${name}: ${r.request().method()} ${r.url()}: ${r.status()}`);
    });
  }

  /** The page as it is now, to everybody: no finding of axe-core, nothing wider than the window. */
  async accessible(page, name) {
    if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(axe);
    for (const look of LOOKS) {
      await page.emulateMedia({ colorScheme: look.colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize(look.viewport);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      for (const v of violations) {
        const where = v.nodes.map((n) => `${n.html.slice(0, 160)} ${n.failureSummary}`).slice(0, 2).join(" | ");
        this.failures.push(`${name}, ${look.name}: axe ${v.id}: ${v.help}: ${where}`);
      }
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      this.expect(wider <= 0, `${name}, ${look.name}: ${wider} px wider than its window`);
    }
    await page.setViewportSize(LOOKS[0].viewport);
  }

  /** Prints the findings; the process' exit code follows. */
  close() {
    for (const failure of this.failures) console.error(failure);
    console.log(`${this.passed} passed, ${this.failures.length} failed`);
    process.exitCode = this.failures.length > 0 ? 1 : 0;
  }
}
