// A monitor that is not one: serves dist/ as the monitor does, with the same
// headers, and makes numbers up. For development and for check.mjs.
//
//   npm run dev                 then http://127.0.0.1:9601/
//   …/dev/scenario?name=trouble changes what it makes up
//   MONITOR=http://127.0.0.1:9600 npm run dev    asks a real monitor instead

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const DIST = new URL("./dist/", import.meta.url);
const TYPES = { html: "text/html; charset=utf-8", js: "text/javascript; charset=utf-8", css: "text/css; charset=utf-8", svg: "image/svg+xml" };
export const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store",
};

/** calm, trouble, quiet (no traffic), empty (nothing read yet), stopped, refusing, unreachable,
 * long (texts without end), hostile (texts of strangers that would like to be markup). */
export const SCENARIOS = ["calm", "trouble", "quiet", "empty", "stopped", "refusing", "unreachable", "long", "hostile"];

const LONG = `a-name-that-nobody-would-give-${"but-somebody-did-".repeat(12)}`;
const PROSE = "words upon words that explain at length what could have been said in three ".repeat(8);
/** Markup, a quote of every kind, a colour for terminals, and what turns the direction of writing. */
const HOSTILE = `<img src=x onerror="globalThis.pwned=1"><script>globalThis.pwned=1</script>'"\`$(id)\u001b[31m\u202egnp.exe`;

/** What a stranger's text is in a scenario. */
const stranger = (scenario, text) => (scenario === "hostile" ? HOSTILE : scenario === "long" ? LONG : text);
const prose = (scenario, text) => (scenario === "hostile" ? HOSTILE : scenario === "long" ? PROSE : text);
const EVENTFUL = new Set(["trouble", "long", "hostile"]);

const LINE = {
  site: "shop",
  revision: "r3",
  domains: ["localhost"],
  site_url: "https://localhost:8443/",
  page_url: "http://127.0.0.1:9600/",
  firewall: false,
  waf: "block",
  pools: [{ name: "app", servers: [{ name: "app/1", address: "127.0.0.1:41001" }, { name: "app/2", address: "127.0.0.1:41002" }] }],
  databases: [
    {
      name: "main",
      listen: "127.0.0.1:6432",
      max_lag_seconds: 2,
      members: [
        { name: "main/0", address: "127.0.0.1:41010", role: "primary" },
        { name: "main/1", address: "127.0.0.1:41011", role: "replica" },
        { name: "main/2", address: "127.0.0.1:41012", role: "replica" },
      ],
    },
  ],
};

/** A number that looks measured: slow waves and a little noise, the same for the same time. */
function wave(t, mean, swing, seed = 0) {
  const noise = Math.sin(t * 12.9898 + seed * 78.233) * 43758.5453;
  const slow = Math.sin((t + seed * 977) / 1700) + 0.5 * Math.sin((t + seed * 331) / 310);
  return Math.max(0, mean + swing * (0.5 * slow + 0.35 * (noise - Math.floor(noise) - 0.5)));
}

/** Series for a query at a time: `[labels, value]`. First pattern wins; what none matches has no series. */
function evaluate(query, t, scenario) {
  const quiet = scenario === "quiet";
  const bad = scenario === "trouble";
  const qps = quiet ? 0 : wave(t, 42, 22);
  const p99 = wave(t, bad ? 0.74 : 0.084, bad ? 0.3 : 0.03, 3);
  const quantile = (q) => (quiet ? NaN : q > 0.98 ? p99 : q > 0.9 ? p99 * 0.55 : p99 * 0.12);
  const errors = bad ? wave(t, 0.042, 0.02, 9) : 0;
  const server = (i) => ({ pool: "app", server: `app/${i}` });
  const member = (i) => ({ database: "main", member: `main/${i}` });
  const named = (name, labels, value) => [{ __name__: name, ...labels }, value];
  const rules = [
    [/^\{__name__/, () => [
      ...[["edge", "edge"], ["database", "database"], ["monitor", "monitor"], ["control", "control"], ["agent", "agent"], ["app", "app/1"], ["app", "app/2"]].map(
        ([job, instance]) => named("up", { job, instance }, bad && instance === "app/2" ? 0 : 1)),
      named("bastide_bans", { job: "edge" }, bad ? 3 : 1),
      named("bastide_database_backends", { ...member(0), state: "active" }, quiet ? 0 : 2),
      ...[0, 1, 2].map((i) => named("bastide_database_backends", { ...member(i), state: "idle" }, 4)),
      ...[1, 2].map((i) => named("bastide_database_backends", { ...member(i), state: "active" }, quiet ? 0 : 1)),
      named("bastide_database_clients", { database: "main" }, 14),
      named("bastide_database_member_up", { ...member(0), role: "primary" }, 1),
      named("bastide_database_member_up", { ...member(1), role: "replica" }, 1),
      named("bastide_database_member_up", { ...member(2), role: "replica" }, bad ? 0 : 1),
      named("bastide_database_replica_lag_seconds", member(1), bad ? 5.2 : 0.004),
      named("bastide_database_replica_lag_bytes", member(1), bad ? 48_300_000 : 2048),
      ...(bad ? [] : [named("bastide_database_replica_lag_seconds", member(2), 0.011), named("bastide_database_replica_lag_bytes", member(2), 5120)]),
      named("bastide_edge_certificate_expiry_timestamp_seconds", { name: "localhost" }, t + (bad ? 5 : 82) * 86400),
      named("bastide_edge_certificate_expiry_timestamp_seconds", { name: "www.localhost" }, t + 82.5 * 86400),
      named("bastide_edge_connections", { listener: "https" }, 31),
      named("bastide_edge_connections", { listener: "http" }, 1),
      named("bastide_edge_requests_in_flight", {}, Math.round(wave(t, 3, 3))),
      named("bastide_edge_server_up", server(1), 1),
      named("bastide_edge_server_up", server(2), bad ? 0 : 1),
      named("bastide_edge_server_in_flight", server(1), 2),
      named("bastide_edge_server_in_flight", server(2), bad ? 0 : 1),
      named("bastide_monitor_series", {}, 4812),
      named("bastide_monitor_store_bytes", {}, 23_400_000),
      ...["edge", "database", "monitor", "agent", "control", "app/1", "app/2", "database.main/0", "database.main/1", "database.main/2"].map((process) =>
        named("bastide_process_up", { process }, bad && /app\/2|main\/2/.test(process) ? 0 : 1)),
      named("node_load1", { job: "agent" }, 0.84),
      named("node_memory_MemAvailable_bytes", {}, 14.2e9),
      named("node_memory_MemTotal_bytes", {}, 25.1e9),
      named("site:qps", {}, qps),
      named("site:errors:ratio", {}, errors),
      named("site:latency:p50", {}, quantile(0.5)),
      named("site:latency:p95", {}, quantile(0.95)),
      named("site:latency:p99", {}, quantile(0.99)),
    ]],
    [/^site:qps:(low|high|expected)$/, () => {
      const usual = 42 + 11 * Math.sin(t / 1700) + 5.5 * Math.sin(t / 310);
      return quiet ? [] : [[{ __name__: query }, usual * { low: 0.7, expected: 1, high: 1.35 }[query.slice(9)]]];
    }],
    [/^(bastide_\w+|site:[\w:]+|up)(\{database="main"\})?$/, () => evaluate("{__name__", t, scenario).filter(([labels]) => labels.__name__ === query.split("{")[0])],
    [/^bastide_edge_certificate\S* - time/, () => [[{ name: stranger(scenario, "localhost") }, (bad ? 5 : 82) * 86400 - (t - Date.now() / 1000)], [{ name: "www.localhost" }, 82.5 * 86400]]],
    [/^max by \(database, member\)/, () => [0, 1, 2].map((i) => [member(i), bad && i === 2 ? 0 : 1])],
    [/probe_ssl/, () => [[{ instance: stranger(scenario, "front") }, t + (bad ? 5 : 82) * 86400]]],
    [/probe_success/, () => [[{ instance: stranger(scenario, "front") }, bad ? 0.981 : 1], [{ instance: "database" }, 1], [{ instance: "resolver" }, 1]]],
    [/timestamp\(up\)/, () => [[{}, scenario === "stopped" ? 312 : 3.1]]],
    [/processors|mode="idle"/, () => [[{}, wave(t, bad ? 0.81 : 0.23, 0.2, 4)]]],
    [/node_memory/, () => [[{}, wave(t, 0.43, 0.02, 5)]]],
    [/node_filesystem/, () => [[{}, 0.61 + (t % 604800) / 6_048_000]]],
    [/label_replace/, () => [
      [{ class: "2xx" }, qps * 0.93], [{ class: "3xx" }, qps * 0.06], [{ class: "4xx" }, qps * 0.012],
      ...(bad ? [[{ class: "5xx" }, qps * errors]] : []),
    ]],
    [/server_duration.*/, () => [1, 2].filter((i) => !(bad && i === 2)).map((i) => [server(i), quantile(query.includes("0.99") ? 0.99 : 0.5) * (0.8 + i * 0.1)])],
    [/server_requests/, () => [
      [{ ...server(1), code: "200" }, qps * (bad ? 0.95 : 0.5)], ...(bad ? [[{ ...server(1), code: "502" }, qps * 0.008]] : []),
      [{ ...server(2), code: "200" }, bad ? 0 : qps * 0.49],
    ]],
    [/edge_request_duration/, () => [[{}, quantile(Number(/histogram_quantile\((.*?),/.exec(query)?.[1]))]]],
    [/sum by \(code\)/, () => [[{ code: "200" }, qps]]],
    [/edge_requests_total/, () => [[{}, qps]]],
    [/requests_in_flight/, () => [[{}, Math.round(wave(t, 4, 4))]]],
    [/edge_connections/, () => [[{}, Math.round(wave(t, 32, 8))]]],
    [/sent_bytes/, () => [[{}, qps * 18_400]]],
    [/accepted/, () => [[{}, qps / 9]]],
    [/handshakes/, () => [[{ result: "full" }, qps / 30], [{ result: "resumed" }, qps / 11], [{ result: "failed" }, bad ? 0.2 : 0]]],
    [/verdict="block"/, () => [[{}, bad ? wave(t, 3, 3) : Math.max(0, wave(t, 0.05, 0.3))]]],
    [/waf_requests/, () => [[{ verdict: "pass" }, qps], [{ verdict: "block" }, bad ? 2.7 : 0.03]]],
    [/banned|refused|limited/, () => [[{}, bad ? 1.7 : 0]]],
    [/database_errors/, () => [[{ database: "main", class: "57" }, bad ? 0.8 : 0]]],
    [/sum by \(database, member, kind\)/, () => [
      [{ ...member(0), kind: "write" }, qps * 0.2], [{ ...member(0), kind: "read" }, bad ? qps * 1.4 : qps * 0.1],
      ...[1, 2].map((i) => [{ ...member(i), kind: "read" }, bad ? 0 : qps * 0.7]),
    ]],
    [/statements_total/, () => [[{ kind: "read" }, qps * 1.5], [{ kind: "write" }, qps * 0.2]]],
    [/statement_duration/, () => [0, 1, 2].map((i) => [member(i), 0.004 + i * 0.001])],
    [/pool_wait/, () => [[{ database: "main" }, bad ? 0.21 : 0.0004]]],
    [/backends/, () => [[{}, Math.round(wave(t, 2, 3, 7))]]],
    [/restarts/, () => [[{ process: "app/2" }, bad ? 4 : 0], [{ process: "app/1" }, 0]]],
    [/retries/, () => [[{ pool: "app" }, bad ? 12 : 0]]],
  ];
  if (scenario === "empty") return [];
  return rules.find(([pattern]) => pattern.test(query))?.[1]() ?? [];
}

const text = (n) => (Number.isNaN(n) ? "NaN" : String(n));

function instant(query, scenario) {
  const t = Date.now() / 1000;
  return { resultType: "vector", result: evaluate(query, t, scenario).map(([metric, value]) => ({ metric, value: [t, text(value)] })) };
}

function range(query, parameters, scenario) {
  const [start, end, step] = ["start", "end", "step"].map((name) => Number(parameters.get(name)));
  const series = new Map();
  // A machine that was set up five hours ago has no past before that.
  const born = Date.now() / 1000 - 5 * 3600;
  for (let t = start; t <= end; t += step) {
    if (t < born) continue;
    for (const [metric, value] of evaluate(query, t, scenario)) {
      const key = JSON.stringify(metric);
      if (!series.has(key)) series.set(key, { metric, values: [] });
      series.get(key).values.push([t, text(value)]);
    }
  }
  return { resultType: "matrix", result: [...series.values()] };
}

const RULES = [
  ["server-down", "bastide_edge_server_up == 0", 15, "critical"],
  ["target-down", "up == 0", 30, "warning"],
  ["member-down", "max by (database, member) (bastide_database_member_up) == 0", 15, "critical"],
  ["replica-lag", 'bastide_database_replica_lag_seconds{database="main"} > 2', 30, "warning"],
  ["error-rate", "site:errors:ratio > 0.05", 60, "critical"],
  ["latency", "site:latency:p99 > 1", 120, "warning"],
  ["qps-high", "site:qps > 3 * (avg_over_time(site:qps[1h] offset 5m) > 1)", 120, "warning"],
  ["qps-vanished", "site:qps < 0.1 * (avg_over_time(site:qps[1h] offset 5m) > 1)", 120, "critical"],
  ["disk-filling", "predict_linear(node_filesystem_avail_bytes[6h], 86400) < 0", 1800, "warning"],
  ["certificate-expiring", "bastide_edge_certificate_expiry_timestamp_seconds - time() < 1209600", 60, "warning"],
];

function alerts(scenario) {
  if (!EVENTFUL.has(scenario)) return [];
  const since = (s) => new Date(Date.now() - s * 1000).toISOString();
  return [
    {
      labels: { alertname: "server-down", pool: "app", server: stranger(scenario, "app/2"), severity: "critical" },
      annotations: { summary: prose(scenario, "web server app/2 takes no requests"), description: "health checks or failed requests took it out of pool app; the other servers carry its share", action: "see why with `bastide logs app/2` and `bastide status`" },
      state: "firing", activeAt: since(142), value: "0",
    },
    {
      labels: { alertname: "certificate-expiring", name: stranger(scenario, "localhost"), severity: "warning" },
      annotations: { summary: "the certificate of localhost ends in 5 d", description: "certificates are renewed earlier than 14 d before they end", action: "see why it was not renewed with `bastide cert`" },
      state: "firing", activeAt: since(4000), value: "432000",
    },
    {
      labels: { alertname: "replica-lag", database: "main", member: "main/1", severity: "warning" },
      annotations: { summary: "replica main/1 is behind its primary", description: "it replays what was written 5.2 s ago; beyond 2 s it gets no reads, and the primary carries them" },
      state: "pending", activeAt: since(12), value: "5.2",
    },
  ];
}

/** `/api/bastide/v1/alert` */
function lookBack(name, scenario) {
  const rule = RULES.find(([known]) => known === name);
  if (!rule) return undefined;
  const [, query, duration] = rule;
  const now = Date.now();
  const time = (ago) => new Date(now - ago * 1000).toISOString();
  const compared = /^(\S+|.* - time\(\)) (>|<|==) ([\d.]+)$/.exec(query);
  const fired = (ago, held, value) => ({ labels: { pool: "app", server: stranger(scenario, "app/2") }, activeAt: time(ago + duration), firedAt: time(ago), resolvedAt: held === null ? null : time(ago - held), value });
  const firing = EVENTFUL.has(scenario)
    ? [fired(142, null, "0e+00"), fired(86_400 * 2.2, 940, "0e+00"), fired(86_400 * 9.7, 180, "5.2e+00"), ...[11, 11.2, 17, 23, 28].map((d) => fired(86_400 * d, 3600, "1e+00"))]
    : name === "latency" && scenario !== "empty" ? [fired(86_400 * 6.1, 420, "1.31e+00")] : [];
  return {
    name, group: "bastide", file: "", query, duration, keepFiringFor: 0, start: time(30 * 86_400), end: time(0), step: 300, firing,
    threshold: compared && { series: compared[1], operator: compared[2], value: Number(compared[3]) },
    warnings: [], infos: scenario === "hostile" ? [HOSTILE] : [],
  };
}

function silences(scenario) {
  if (!EVENTFUL.has(scenario)) return [];
  const time = (s) => new Date(Date.now() + s * 1000).toISOString();
  const equal = (name, value, isRegex = false) => ({ name, value, isRegex, isEqual: true });
  return [
    { id: "2f6c1b1e-6c0f-4f0a-9a57-1d7c2c5f9d11", status: { state: "active" }, matchers: [equal("alertname", "replica-lag"), equal("member", stranger(scenario, "main/1"))], startsAt: time(-600), endsAt: time(2900), updatedAt: time(-600), createdBy: stranger(scenario, "ana"), comment: prose(scenario, "reindexing main/1 until noon") },
    { id: "7d0a5f34-0c9b-4b19-8a3e-5a0e7b8c2f42", status: { state: "pending" }, matchers: [equal("server", "app/.*", true)], startsAt: time(7200), endsAt: time(10_800), updatedAt: time(-60), createdBy: "ana", comment: "kernel update" },
    { id: "c0ffee00-0000-4000-8000-000000000000", status: { state: "expired" }, matchers: [equal("alertname", "latency")], startsAt: time(-9000), endsAt: time(-4000), updatedAt: time(-9000), createdBy: "ana", comment: "over and done" },
  ];
}

const routed = (scenario) =>
  alerts(scenario).filter((a) => a.state === "firing").map((a, i) => ({
    labels: { ...a.labels, site: "shop" },
    status: i === 0 ? { state: "active", silencedBy: [], inhibitedBy: [], mutedBy: [] } : { state: "suppressed", silencedBy: ["2f6c1b1e-6c0f-4f0a-9a57-1d7c2c5f9d11"], inhibitedBy: [], mutedBy: [] },
  }));

function growth(scenario) {
  const day = (days) => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10);
  if (scenario === "empty" || scenario === "quiet") {
    const silent = ["CPU of `agent`: 1 days of history are too few", "the line of `eth0`: nobody said how much there is"];
    return { findings: [], silent, weekly_growth: null, text: "nothing can be said yet." };
  }
  const named = (name) => (scenario === "hostile" || scenario === "long" ? `${name} ${stranger(scenario)}` : name);
  const cpu = named("CPU of `agent`");
  const bad = scenario === "trouble";
  const on = day(bad ? 0 : 49);
  return {
    findings: [
      { resource: cpu, unit: "cores", on, earliest: day(bad ? 0 : 38), latest: day(66), used: bad ? 1.71 : 1.24, ceiling: 2, bearable: 1.6, weekly: 1.041, cost: { per_request: 0.0127, fixed: 0.1, explained: 0.93 }, with_another_server: day(171),
        text: `${cpu}: until ${on} (80 %: ${day(38)} to ${day(66)}); its busiest hour of the last week took 1.24 cores of 2.00 cores, 80 % of which can be borne; load grows +4.1 % a week; a request costs 12.70 ms of CPU (requests explain 93 % of it); 56 days of history; with another server until ${day(171)}` },
      { resource: "disk `/dev/vda1`", unit: "bytes", on: day(211), earliest: day(180), latest: null, used: 244e9, ceiling: 400e9, bearable: 360e9, weekly: 3.8e9, cost: null, with_another_server: null,
        text: `disk \`/dev/vda1\`: until ${day(211)} (80 %: ${day(180)} to never); 227.2 GiB of 372.5 GiB are used, 3.5 GiB come in a week; 56 days of history` },
      { resource: "connections of PostgreSQL `main`", unit: "connections", on: null, earliest: null, latest: null, used: 14, ceiling: 100, bearable: 90, weekly: 1.01, cost: null, with_another_server: null,
        text: "connections of PostgreSQL `main`: enough for two years; its busiest hour of the last week took 14 connections of 100 connections, 90 % of which can be borne; load grows +1.0 % a week; 56 days of history" },
    ],
    silent: ["the line of `eth0`: nobody said how much there is"], weekly_growth: 1.041, text: "",
  };
}

function probes(scenario) {
  if (scenario === "empty") return [];
  const at_ms = Date.now() - 7_000;
  const bad = EVENTFUL.has(scenario);
  return [
    { name: "database", well: true, error: null, at_ms, seconds: 0.0042 },
    { name: stranger(scenario, "front"), well: !bad, error: bad ? prose(scenario, "the certificate ends in 5 days") : null, at_ms, seconds: 0.081 },
    { name: "resolver", well: true, error: null, at_ms: at_ms - 40_000, seconds: 0.0007 },
  ];
}

/** 250 lines, a second apart; half of them fail where there is trouble. */
function logs(parameters, scenario) {
  const asked = (name) => parameters.get(name);
  if (asked("regex") === "(") return { error: "`(` is no regular expression: unclosed group" };
  if (scenario === "empty") return { data: { lines: [], complete: true, next: {}, frames: 0, passed_over: 0, damage: [] } };
  const now = Date.now();
  const all = Array.from({ length: 250 }, (_, i) => {
    const status = scenario !== "calm" && i % 2 ? 502 : i % 9 ? 200 : 404;
    const path = i === 1 ? stranger(scenario, "/orders/42") : `/items/${i}?q=${(i * 7919) % 101}`;
    return {
      log: "edge", at_ms: now - i * 1000, status: i === 3 ? null : status, seconds: i === 3 ? null : 0.003 * (1 + (i % 17)),
      line: i === 3 ? "\u0016\u0003\u0001 no line of this format" : `203.0.113.${i % 250} - - [23/Nov/2026:14:00:00 +0000] "GET ${path} HTTP/1.1" ${status} 5120 "-" "${i % 3 ? "curl/8.5.0" : "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36"}"${scenario === "long" && i === 0 ? PROSE.repeat(6) : ""}`,
    };
  });
  const class_ = (s) => asked("status") === null || (s !== null && asked("status").split(",").some((p) => p === String(s) || p === `${Math.floor(s / 100)}xx`));
  const found = all.filter((l) => (asked("query") === null || l.line.includes(asked("query"))) && class_(l.status) && (l.seconds ?? 0) >= Number(asked("min_seconds") ?? 0));
  const from = asked("from") === null ? 0 : JSON.parse(asked("from")).edge[1];
  const lines = found.slice(from, from + Number(asked("limit")));
  return { data: { lines, complete: from + lines.length >= found.length, next: { edge: [3, from + lines.length] }, frames: 4, passed_over: 1, damage: scenario === "trouble" ? ["edge/000012.log: the checksum of a frame is wrong; its lines are left out"] : [] } };
}

function events(scenario) {
  if (scenario === "empty") return [];
  const now = Date.now();
  const match = (rule, message, variable, value, operator, matched) => ({
    rule, source: "waf/sqli.conf:12", message, severity: "CRITICAL", tags: ["attack-sqli"], variable, value,
    transformed: value.toLowerCase(), transformations: ["urlDecode", "lowercase"], operator, matched,
  });
  const list = [
    { at_ms: now - 9_000, role: "edge", event: "waf_match", id: "01KAX5T7RZ4B2Q8M0XNV", client: "203.0.113.9", method: "GET", host: "localhost", path: "/search", blocked: true, score: 10, outbound_score: 0,
      matches: [match(942100, "SQL injection", "ARGS:q", "' UNION SELECT name, passwd FROM users--", "@rx (?i)\\bunion\\b.{1,40}\\bselect\\b", "UNION SELECT")] },
    { at_ms: now - 41_000, role: "edge", event: "refused", client: "198.51.100.77", reason: "bad_header", what: "obs-fold in `x-a`" },
    { at_ms: now - 94_000, role: "edge", event: "waf_match", id: "01KAX5T2M93JD7T1C0AA", client: "203.0.113.9", method: "GET", host: "localhost", path: "/search", blocked: true, score: 15, outbound_score: 0,
      matches: [match(941110, "XSS: script element", "ARGS:q", "<script>alert(1)</script>", "@rx <script", "<script")] },
    { at_ms: now - 95_000, role: "edge", event: "waf_match", id: "01KAX5T2M7Q0V4A9ZC3D", client: "198.51.100.23", method: "POST", host: "localhost", path: "/checkout", blocked: false, score: 3, outbound_score: 0,
      matches: [match(920350, "Host header is a numeric IP address", "REQUEST_HEADERS:Host", "192.0.2.1", "@rx ^[\\d.]+$", "192.0.2.1"), match(980170, "Anomaly Scores", "", "", "", "")] },
    { at_ms: now - 96_000, role: "control", event: "ban", net: "203.0.113.9/32", duration: 600_000, what: "ban", why: "asked for by the operator" },
    { at_ms: now - 3_700_000, role: "supervisor", event: "process", process: "app/2", what: "started", pid: 4312, why: "" },
    { at_ms: now - 3_705_000, role: "control", event: "revision", revision: 3, committed: true, why: "waf.mode: detect → block" },
    { at_ms: now - 3_900_000, role: "monitor", event: "alert", alert: "latency", state: "resolved", labels: [["severity", "warning"]], value: 0.08 },
  ];
  if (scenario === "trouble") {
    list.unshift(
      { at_ms: now - 2_000, role: "monitor", event: "alert", alert: "server-down", state: "firing", labels: [["pool", "app"], ["server", "app/2"]], value: 0 },
      { at_ms: now - 3_000, role: "edge", event: "server_health", pool: "app", server: "app/2", up: false, why: "3 health checks failed: connection refused" },
      { at_ms: now - 4_000, role: "supervisor", event: "process", process: "app/2", what: "ended", pid: 4312, why: "killed by signal 9" },
      { at_ms: now - 5_000, role: "database", event: "member_health", database: "main", member: "main/2", up: false, why: "connection refused", lsn: "0/3A41F28" },
    );
  }
  for (let i = 0; i < 60; i += 1) {
    list.push({ at_ms: now - 4_000_000 - i * 61_000, role: "edge", event: "refused", client: `198.51.100.${i}`, reason: "bad_request_line", what: "\\x16\\x03\\x01" });
  }
  return list;
}

function targets(scenario) {
  const all = [["edge", "edge"], ["database", "database"], ["monitor", "monitor"], ["control", "control"], ["agent", "agent"], ["app", "app/1"], ["app", "app/2"]];
  return all.map(([job, instance]) => {
    const down = scenario === "trouble" && instance === "app/2";
    return { labels: { job, instance }, scrapePool: job, scrapeUrl: `unix:${instance}`, health: scenario === "empty" ? "unknown" : down ? "down" : "up", lastError: down ? "connection refused" : "", lastScrape: new Date().toISOString() };
  });
}

function api(path, parameters, scenario) {
  switch (path) {
    case "/api/v1/query": return { data: instant(parameters.get("query") ?? "", scenario) };
    case "/api/v1/query_range": return { data: range(parameters.get("query") ?? "", parameters, scenario) };
    case "/api/v1/alerts": return { data: { alerts: alerts(scenario) } };
    case "/api/v1/rules": return { data: { groups: [{ name: "bastide", file: "", rules: RULES.map(([name, query, duration, severity]) => ({ type: "alerting", name, query, duration, labels: { severity }, annotations: {}, health: "ok", state: alerts(scenario).find((a) => a.labels.alertname === name)?.state ?? "inactive" })) }] } };
    case "/api/v1/targets": return { data: { activeTargets: targets(scenario), droppedTargets: [] } };
    case "/api/bastide/v1/line": return LINE;
    case "/api/bastide/v1/events": {
      const kinds = parameters.getAll("kind");
      return { events: events(scenario).filter((e) => kinds.length === 0 || kinds.includes(e.event)).slice(0, Number(parameters.get("limit") ?? 100)) };
    }
    case "/api/bastide/v1/alert": return lookBack(parameters.get("name"), scenario);
    case "/api/bastide/v1/growth": return growth(scenario);
    case "/api/bastide/v1/probes": return { probes: probes(scenario) };
    case "/api/bastide/v1/logs": return logs(parameters, scenario);
    case "/api/v2/silences": return silences(scenario);
    case "/api/v2/alerts": return routed(scenario);
    default: return undefined;
  }
}

async function forward(url, answer) {
  try {
    const real = await fetch(new URL(url.pathname + url.search, process.env.MONITOR));
    answer(real.status, real.headers.get("content-type") ?? "text/plain", Buffer.from(await real.arrayBuffer()));
  } catch (error) {
    answer(502, "application/json", JSON.stringify({ status: "error", error: String(error) }));
  }
}

/** Serves on a port (0: any); `scenario` can be changed on what it returns. */
export function serve(port = 0, scenario = "calm") {
  const mock = { scenario, url: "", requests: 0, close: () => server.close() };
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://mock");
    const answer = (status, type, body) => response.writeHead(status, { ...HEADERS, "content-type": type }).end(body);
    if (url.pathname === "/dev/scenario") {
      mock.scenario = url.searchParams.get("name") ?? "calm";
      return answer(200, "text/plain", `${mock.scenario}; there are ${SCENARIOS.join(", ")}\n`);
    }
    if (url.pathname.startsWith("/api/")) {
      mock.requests += 1;
      if (process.env.MONITOR) return forward(url, answer);
      if (mock.scenario === "unreachable") return request.socket.destroy();
      if (mock.scenario === "refusing" && url.pathname.includes("query")) {
        return answer(503, "application/json", JSON.stringify({ status: "error", errorType: "timeout", error: "query took longer than 10 s" }));
      }
      const body = api(url.pathname, url.searchParams, mock.scenario);
      if (body?.error !== undefined) return answer(400, "application/json", JSON.stringify({ status: "error", errorType: "bad_data", error: body.error }));
      const wrapped = body?.data === undefined ? body : { status: "success", ...body };
      return wrapped === undefined ? answer(404, "application/json", '{"status":"error","error":"no such endpoint"}') : answer(200, "application/json", JSON.stringify(wrapped));
    }
    const name = url.pathname === "/" ? "index.html" : url.pathname.slice(1);
    if (!/^[a-z]+\.[a-z]+$/.test(name)) return answer(404, "text/plain", "no such page\n");
    try {
      return answer(200, TYPES[name.split(".")[1]] ?? "application/octet-stream", await readFile(new URL(name, DIST)));
    } catch {
      return answer(404, "text/plain", "no such page\n");
    }
  });
  return new Promise((resolve) => {
    server.listen(port, "127.0.0.1", () => {
      mock.url = `http://127.0.0.1:${server.address().port}/`;
      resolve(mock);
    });
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const mock = await serve(Number(process.env.PORT ?? 9601), process.env.SCENARIO ?? "calm");
  console.log(`${mock.url}  (${SCENARIOS.map((s) => `dev/scenario?name=${s}`).join("  ")})`);
}
