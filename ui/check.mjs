// The page in a real browser, against the mock monitor: every scenario, light and
// dark, wide and at 375 px. Fails on an accessibility finding (axe-core), a line
// on the console, a breach of the content security policy, a page wider than its
// window, or a page that does not say what it must.
//
//   npm run browser             CHROMIUM=…  SHOTS=folder for screenshots

import { chromium } from "playwright-core";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { serve } from "./dev.mjs";

const axe = readFileSync(new URL("./node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const shots = process.env.SHOTS;

const mock = await serve();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

let passed = 0;
const failures = [];
function expect(condition, what) {
  if (condition) passed += 1;
  else failures.push(what);
}

/** `ONLY=small`, `ONLY=hostile`: these sizes or scenarios alone, while one works on the page. */
const only = process.env.ONLY ?? "";

const SIZES = [
  { name: "wide-light", colorScheme: "light", viewport: { width: 1440, height: 1000 } },
  { name: "wide-dark", colorScheme: "dark", viewport: { width: 1440, height: 1000 } },
  { name: "middle-light", colorScheme: "light", viewport: { width: 900, height: 1000 } },
  { name: "small-light", colorScheme: "light", viewport: { width: 375, height: 800 } },
  { name: "small-dark", colorScheme: "dark", viewport: { width: 375, height: 800 } },
];
/** What the page must say in each scenario. */
const SAYS = {
  calm: ["runs out first", "With another server: until", "Status page", "Everything is up.", "app/1", "main/2", "10 rules watch", "blocked GET /search", "3 requests matched, 2 refused"],
  trouble: ["app/2 and main/2 are down", "2 alerts fire", "its process does not run", "gets no reads", "certificate of localhost"],
  quiet: ["no traffic just now", "No request was answered in this time.", "main/2"],
  empty: ["Nothing can be said yet.", "Nothing is tried from outside", "Nothing has been read yet; the first", "no reading yet", "Nothing has happened since"],
  stopped: ["Readings have stopped", "Not known since", "5 min 12 s old", "not live"],
  refusing: ["got an error", "query took longer"],
  long: ["runs out first", "a-name-that-nobody-would-give"],
  hostile: ["runs out first", "<img src=x onerror="],
};

/** Where the details of alerts and rules are opened, and logs searched. */
const OPENED = new Set(["calm", "trouble", "empty", "long", "hostile"]);

async function unfold(page, where, scenario) {
  const say = (text) => settled(page, [text], where);
  const nothing = scenario === "empty";
  if (scenario === "calm" || nothing) {
    await page.locator("#alerts summary").first().click();
    await page.locator("#alerts .rules summary").nth(5).click();
    await say(nothing ? "it would have fired at no time" : "it would have fired once");
    // The chart comes with an answer of its own.
    if (!nothing) await say("threshold >");
    expect(nothing || (await page.getByText("threshold >").count()) === 1, `${where}: the threshold is drawn`);
    await say("bastide silence add alertname=latency --for 1h");
  } else {
    expect((await page.locator(".silences > li").count()) === 2, `${where}: what has expired is no silence`);
    expect((await page.locator(".alert .tag", { hasText: "silenced" }).count()) === 1, `${where}: the one alert is silenced`);
    for (const summary of await page.locator(".alert summary").all()) await summary.click();
    await say("it would have fired 8 times");
    await say("and 3 earlier");
    // What could move a terminal's cursor is not offered to be pasted into one.
    const command = await page.locator(".alert .command code").first().textContent();
    const wanted = { trouble: "bastide silence add alertname=server-down pool=app server=app/2 severity=critical --for 1h --why 'say why'", hostile: "bastide silence add alertname=replica-lag" }[scenario];
    expect(command.startsWith(wanted ?? "bastide silence add"), `${where}: not \`${command}\``);
    if (scenario === "hostile") await say("\\u{1b}[31m\\u{202e}gnp.exe");
  }
  await page.getByRole("button", { name: "Search", exact: true }).click();
  if (nothing) {
    await say("No lines are kept for this time");
  } else {
    await say("100 lines, the newest first; there are older ones");
    expect((await page.locator(".line").count()) === 100, `${where}: a page of lines`);
  }
  expect((await page.locator("#page :is(img, script)").count()) === 0, `${where}: texts became markup`);
  expect((await page.evaluate(() => globalThis.pwned)) === undefined, `${where}: a text was run`);
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(wider <= 0, `${where}, unfolded: ${wider} px wider than its window`);
}

/** Opens the page in a fresh context and gives it to `look`. */
async function open(size, scenario, look) {
  mock.scenario = scenario;
  const context = await browser.newContext({ ...size, reducedMotion: "reduce", timezoneId: "UTC" });
  const page = await context.newPage();
  const where = `${size.name} ${scenario}`;
  // What a browser says of an answer that is an error is the scenario's point, not the page's fault.
  page.on("console", (m) => {
    if (m.type() === "error" && !m.text().startsWith("Failed to load resource")) failures.push(`${where}: console: ${m.text()}`);
  });
  page.on("pageerror", (e) => failures.push(`${where}: uncaught: ${e}`));
  await page.goto(mock.url);
  await look(page, where);
  await context.close();
}

async function settled(page, texts, where) {
  for (const text of texts) {
    try {
      await page.getByText(text).first().waitFor({ timeout: 8000 });
      passed += 1;
    } catch {
      failures.push(`${where}: does not say \`${text}\``);
    }
  }
}

async function accessible(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  passed += 1;
  for (const v of violations) {
    failures.push(`${where}: axe ${v.id}: ${v.help}: ${v.nodes.map((n) => `${n.html.slice(0, 120)} ${n.failureSummary}`).slice(0, 2).join(" | ")}`);
  }
}

async function shot(page, name) {
  if (!shots) return;
  await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
  await page.screenshot({ path: join(shots, `${name}-top.png`) });
}

if (shots) mkdirSync(shots, { recursive: true });
try {
  for (const size of SIZES) {
    for (const scenario of Object.keys(SAYS)) {
      if (!`${size.name}-${scenario}`.includes(only)) continue;
      await open(size, scenario, async (page, where) => {
        await settled(page, SAYS[scenario], where);
        if (OPENED.has(scenario)) {
          await unfold(page, where, scenario);
          await accessible(page, `${where}, unfolded`);
        }
        const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        expect(wider <= 0, `${where}: the page is ${wider} px wider than its window`);
        await accessible(page, where);
        await shot(page, `${size.name}-${scenario}`);
      });
    }
  }

  const [wide] = SIZES;
  await open(wide, "calm", async (page, where) => {
    await settled(page, ["Everything is up."], where);
    // All by keyboard: theme, range, filter, an event's detail.
    await page.getByRole("radio", { name: "dark" }).focus();
    await page.keyboard.press("Space");
    expect((await page.evaluate(() => document.documentElement.dataset.theme)) === "dark", "the theme follows its switch");
    await page.getByRole("radio", { name: "15 min" }).focus();
    const asked = page.waitForRequest((r) => r.url().includes("query_range") && r.url().includes("step=15"));
    await page.keyboard.press("ArrowRight");
    await asked;
    expect(await page.getByRole("radio", { name: "1 h", exact: true }).isChecked(), "the range moves by arrow keys");
    await page.getByRole("radio", { name: "by client" }).focus();
    await page.keyboard.press("Space");
    expect((await page.locator("#waf tbody th").first().textContent()) === "203.0.113.9", "WAF events are counted by client");
    await page.getByRole("radio", { name: "by rule" }).focus();
    await page.keyboard.press("Space");
    expect((await page.locator("#waf tbody tr").count()) === 3, "rules that only add up are not counted");
    await page.getByRole("button", { name: "ban", exact: true }).focus();
    await page.keyboard.press("Enter");
    const rows = page.locator(".events > li");
    expect((await rows.count()) === 1, `one ban is shown, not ${await rows.count()}`);
    await page.keyboard.press("Enter");
    await page.getByRole("searchbox", { name: "Find in events" }).fill("union");
    expect((await rows.count()) === 0, "detail of matches is not searched, the row is");
    await page.getByRole("searchbox", { name: "Find in events" }).fill("sql 203.0.113.9");
    expect((await rows.count()) === 1, "words narrow the events");
    await page.locator(".events summary").first().press("Enter");
    await settled(page, ["bastide waf explain 01KAX5T7RZ4B2Q8M0XNV"], where);
    await accessible(page, `${where}, event open`);
    await page.reload();
    await settled(page, ["Everything is up."], where);
    expect((await page.evaluate(() => document.documentElement.dataset.theme)) === "dark", "the theme is remembered");

    // A search by keyboard alone, its pages, and what is no expression.
    await page.getByRole("searchbox", { name: "Text in the line" }).focus();
    await page.keyboard.type("GET /items");
    await page.getByRole("textbox", { name: "Status" }).focus();
    await page.keyboard.type("2xx,404");
    await page.keyboard.press("Enter");
    await settled(page, ["100 lines, the newest first"], where);
    await page.getByRole("button", { name: "Older" }).press("Enter");
    await settled(page, ["lines 101 to 200"], where);
    await page.getByRole("button", { name: "Older" }).press("Enter");
    await settled(page, ["the last ones"], where);
    expect((await page.locator(".lines ol").getAttribute("start")) === "201", "lines are numbered through");
    await page.getByRole("button", { name: "Newer" }).press("Enter");
    await settled(page, ["lines 101 to 200", "-- 'GET /items'"], where);
    await page.getByRole("searchbox", { name: "Text in the line" }).fill("(");
    await page.getByLabel("regular expression").press("Space");
    await page.getByRole("searchbox", { name: "Text in the line" }).press("Enter");
    await settled(page, ["unclosed group"], where);
    await accessible(page, `${where}, logs`);

    await page.locator("#logs select").selectOption("from … to …");
    await page.locator("#logs input[name=start]").fill("2026-11-23T10:00");
    const between = page.waitForRequest((r) => r.url().includes("/logs?"));
    await page.getByRole("textbox", { name: "Status" }).press("Enter");
    const { searchParams } = new URL((await between).url());
    expect(searchParams.get("start") === "2026-11-23T10:00:00.000Z" && !searchParams.has("end"), `the time is asked for, not ${searchParams}`);
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.locator("#logs .command button").press("Enter");
    await page.getByRole("button", { name: "Copied" }).waitFor();
    expect((await page.evaluate(() => navigator.clipboard.readText())).startsWith("bastide logs search --"), "the command is copied");

    // The monitor goes away and comes back; the page says so and keeps what it had.
    mock.scenario = "unreachable";
    await settled(page, ["The monitor does not answer", "not live", "Not known since"], where);
    expect(await page.getByText("app/1").first().isVisible(), "the last numbers stay");
    await accessible(page, `${where}, unreachable`);
    await shot(page, "wide-unreachable");
    mock.scenario = "trouble";
    await settled(page, ["app/2 and main/2 are down"], where);
    expect((await page.getByText("The monitor does not answer").count()) === 0, "the notice goes when the monitor is back");

    // Hidden, it asks nothing; seen again, it asks at once.
    const hide = (hidden) =>
      page.evaluate((h) => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => h });
        document.dispatchEvent(new Event("visibilitychange"));
      }, hidden);
    await page.waitForLoadState("networkidle");
    await hide(true);
    const before = mock.requests;
    await page.waitForTimeout(6500);
    expect(mock.requests === before, `a hidden page asked ${mock.requests - before} times`);
    const again = page.waitForRequest((r) => r.url().includes("/api/v1/query"), { timeout: 2000 });
    await hide(false);
    await again;
    passed += 1;
  });
  await open(wide, "unreachable", async (page, where) => {
    await settled(page, ["The monitor does not answer", "Nothing is shown yet", "Waiting for the monitor"], where);
    await accessible(page, where);
    await shot(page, "wide-never-reached");
  });
} finally {
  await browser.close();
  mock.close();

}
for (const failure of failures) console.error(failure);
console.log(`${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length > 0 ? 1 : 0;
