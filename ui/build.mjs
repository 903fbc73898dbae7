// Builds the page into dist/, byte for byte the same from the same source; with
// `--test`, builds the tests into a folder of their own and runs them.

import { build } from "esbuild";
import { spawnSync } from "node:child_process";
import { cp, mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));

/** What the licences of what is inside ask to be kept with it. */
const NOTICE = `/*! Bastide's dashboard, Apache-2.0. With, each under the MIT licence:
preact (c) 2015-present Jason Miller; @preact/signals (c) 2022-present Preact Team; uPlot (c) 2022 Leon Sorokin.
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions: The above copyright notice and
this permission notice shall be included in all copies or substantial portions of the Software. THE SOFTWARE IS PROVIDED
"AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT
HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE,
ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE. */`;

async function page() {
  const out = join(here, "dist");
  await rm(out, { recursive: true, force: true });
  await build({
    absWorkingDir: here,
    entryPoints: ["src/app.tsx", "src/app.css"],
    entryNames: "[name]",
    outdir: out,
    bundle: true,
    minify: true,
    format: "iife",
    target: ["es2022", "chrome110", "firefox115", "safari16.4"],
    legalComments: "none",
    banner: { js: NOTICE },
    charset: "utf8",
    logLevel: "warning",
  });
  for (const name of ["index.html", "icon.svg"]) await cp(join(here, "src", name), join(out, name));
}

async function tests() {
  // Beside node_modules, so that nothing is found elsewhere.
  const out = await mkdtemp(join(here, "node_modules", ".test-"));
  try {
    const sources = (await readdir(join(here, "test"))).filter((name) => name.endsWith(".test.ts")).sort();
    await build({
      absWorkingDir: here,
      entryPoints: sources.map((name) => `test/${name}`),
      outdir: out,
      outExtension: { ".js": ".mjs" },
      bundle: true,
      platform: "node",
      format: "esm",
      target: "node18",
      sourcemap: "inline",
      logLevel: "warning",
    });
    const built = sources.map((name) => join(out, name.replace(/\.ts$/, ".mjs")));
    const run = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...built], { stdio: "inherit" });
    return run.status ?? 1;
  } finally {
    await rm(out, { recursive: true, force: true });
  }
}

if (process.argv.includes("--test")) process.exitCode = await tests();
else await page();
