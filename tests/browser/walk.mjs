// A customer buys in the shop, then the operator looks at the dashboard, both in
// a real browser against a real site.
//
//   SITE_URL=https://localhost:8443 PAGE_URL=http://127.0.0.1:9600 ROOT_PEM=…/ca/root.pem npm run walk

import { launch, needed, Verdict } from "./browser.mjs";

const site = needed("SITE_URL").replace(/\/$/, "");
const dashboard = needed("PAGE_URL").replace(/\/$/, "");
const verdict = new Verdict();
const browser = await launch(site, needed("ROOT_PEM"));
const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
try {
  const order = await buy();
  await seeItAgain(order);
  const event = await attack();
  await watch(event);
} catch (error) {
  verdict.failures.push(String(error));
} finally {
  await browser.close();
  verdict.close();
}

/** From the search to the order; its address. */
async function buy() {
  const page = await context.newPage();
  verdict.watch(page, "shop");
  await page.goto(`${site}/`, { waitUntil: "networkidle" });
  await verdict.accessible(page, "catalogue");

  await page.getByRole("searchbox").fill("lamp");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "“lamp”" }).waitFor();
  await page.waitForLoadState("networkidle");
  await verdict.accessible(page, "search");

  await page.getByRole("heading", { name: "Desk lamp" }).getByRole("link").click();
  await page.getByRole("heading", { level: 1, name: "Desk lamp" }).waitFor();
  await page.waitForLoadState("networkidle");
  await verdict.accessible(page, "product");

  await page.getByLabel("Quantity").fill("2");
  await page.getByRole("button", { name: "Add to cart" }).click();
  await page.getByText("Desk lamp is in your cart.").waitFor();
  await page.waitForLoadState("networkidle");
  verdict.expect((await inCart(page)) === "2", `the cart has 2 things, not ${await inCart(page)}`);
  await verdict.accessible(page, "cart");

  await page.getByLabel("Name").fill("Grace Hopper");
  await page.getByLabel("E-mail").fill("grace@example.org");
  await page.getByLabel("Address").fill("3 Harbour Street\n1001 Lisbon");
  await page.getByRole("button", { name: /^Order for/ }).click();
  await page.getByText("Your order is placed").waitFor();
  await page.waitForLoadState("networkidle");
  verdict.expect((await inCart(page)) === "0", "the order emptied the cart");
  verdict.expect(await page.getByText("3 Harbour Street").isVisible(), "the order says where it goes");
  await verdict.accessible(page, "order");
  const order = page.url();
  await page.close();
  return order;
}

function inCart(page) {
  return page.locator(".basket .count").textContent();
}

/** The order is on the list, and the list leads to it. */
async function seeItAgain(order) {
  const page = await context.newPage();
  verdict.watch(page, "orders");
  await page.goto(`${site}/orders`, { waitUntil: "networkidle" });
  await verdict.accessible(page, "orders");
  await page.locator(`a[href="${new URL(order).pathname}"]`).click();
  await page.getByRole("heading", { level: 1, name: /^Order/ }).waitFor();
  await page.waitForLoadState("networkidle");
  verdict.expect(page.url() === order, `the list leads to ${order}, not ${page.url()}`);
  verdict.expect(await page.getByText("Desk lamp").isVisible(), "the order has what was bought");
  await page.close();
}

/** An attack is answered by a page that carries an event; its id. */
async function attack() {
  const page = await context.newPage();
  const answer = await page.goto(`${site}/search?q=${encodeURIComponent("1' UNION SELECT password FROM users--")}`);
  verdict.expect(answer.status() === 403, `an attack is answered 403, not ${answer.status()}`);
  await verdict.accessible(page, "block page");
  const id = /\b0[0-9A-Z]{19}\b/.exec(await page.locator("body").innerText())?.[0];
  verdict.expect(id !== undefined, "the block page carries an event id");
  await page.close();
  return id;
}

/** The dashboard while customers look around. */
async function watch(event) {
  const customer = await context.newPage();
  verdict.watch(customer, "customer");
  await customer.goto(`${site}/`, { waitUntil: "networkidle" });
  // In the page, so that it goes on by itself; strictly one after the other.
  await customer.evaluate(() => {
    (async () => {
      while (true) await fetch("/search?q=tea").then((r) => r.text());
    })();
  });

  const page = await context.newPage();
  verdict.watch(page, "dashboard");
  await page.goto(`${dashboard}/`);
  await page.getByText("Everything is up.").waitFor({ timeout: 60_000 });

  // The drawing: the names are those of the file, each with its own place.
  const line = await (await fetch(`${dashboard}/api/bastide/v1/line`)).json();
  const servers = line.pools.flatMap((pool) => pool.servers.map((s) => `server ${s.name}`));
  const members = line.databases.flatMap((d) => [`router ${d.name}`, ...d.members.map((m) => `member ${m.name}`)]);
  verdict.expect(servers.length === 2 && members.length === 4, `two web servers, a router and three members: ${[...servers, ...members]}`);
  for (const node of ["clients", "firewall", "edge", ...servers, ...members]) {
    const shown = page.locator(`[data-node="${node}"]`);
    verdict.expect((await shown.count()) === 1 && (await shown.isVisible()), `${node} is drawn`);
  }
  verdict.expect((await page.locator("svg.wires path.wire").count()) >= 2 + servers.length * 2 + 3, "wires join them");

  // What is measured reaches it: requests in all, at each web server, and statements.
  await positive(page, '[data-node="clients"] .big', "requests a second");
  for (const server of servers) await positive(page, `[data-node="${server}"] dd`, `requests a second at ${server}`);
  await positive(page, '[data-node="router main"] dd', "statements a second");
  verdict.expect(
    await page.locator("canvas, svg.chart").first().isVisible(),
    "charts are drawn",
  );
  const seen = page.getByText("blocked GET /search").first();
  await seen.waitFor({ timeout: 30_000 });
  verdict.expect(event !== undefined, "the blocked request is among the events");

  // Long enough for another round of questions: none may fail.
  await page.waitForTimeout(6_000);
  await verdict.accessible(page, "dashboard");
  await page.close();
  await customer.close();
}

/** Waits until the first element that fits shows a number above zero. */
async function positive(page, selector, what) {
  const number = async () => Number.parseFloat((await page.locator(selector).first().textContent()).replace(/[^\d.]/g, ""));
  const end = Date.now() + 60_000;
  while (!((await number()) > 0)) {
    if (Date.now() > end) return verdict.expect(false, `${what}: still \`${await page.locator(selector).first().textContent()}\` after a minute`);
    await page.waitForTimeout(500);
  }
  verdict.expect(true, what);
}
