// The pictures of the README, from a site that runs: docs/images/*.png.
//
//   SITE_URL=https://localhost:8443 PAGE_URL=http://127.0.0.1:9600 ROOT_PEM=…/ca/root.pem npm run shots

import { fileURLToPath } from "node:url";
import { launch, needed } from "./browser.mjs";

const site = needed("SITE_URL").replace(/\/$/, "");
const dashboard = needed("PAGE_URL").replace(/\/$/, "");
const folder = fileURLToPath(new URL("../../docs/images/", import.meta.url));

const SHOTS = [
  { name: "dashboard-light", url: `${dashboard}/`, colorScheme: "light", width: 1280, height: 1120 },
  { name: "dashboard-dark", url: `${dashboard}/`, colorScheme: "dark", width: 1280, height: 1120 },
  { name: "dashboard-375", url: `${dashboard}/`, colorScheme: "light", width: 375, height: 1500 },
  { name: "shop", url: `${site}/`, colorScheme: "light", width: 1280, height: 800 },
];

const browser = await launch(site, needed("ROOT_PEM"));
for (const { name, url, colorScheme, width, height } of SHOTS) {
  const context = await browser.newContext({ colorScheme, viewport: { width, height }, reducedMotion: "reduce", timezoneId: "UTC" });
  const page = await context.newPage();
  await page.goto(url);
  if (url.startsWith(dashboard)) await page.getByText("Everything is up.").waitFor();
  await page.waitForLoadState("networkidle");
  await page.screenshot({ path: `${folder}${name}.png` });
  await context.close();
}
await browser.close();
