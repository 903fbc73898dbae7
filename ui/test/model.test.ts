import assert from "node:assert/strict";
import { test } from "node:test";
import { list, pick, total, verdict, view, type Answers } from "../src/model.ts";
import type { Alert, Line, Sample, Target } from "../src/types.ts";

const LINE: Line = {
  site: "shop",
  revision: "r1",
  domains: ["localhost"],
  site_url: "https://localhost:8443/",
  page_url: "http://127.0.0.1:9600/",
  firewall: false,
  waf: "block",
  pools: [{ name: "app", servers: [{ name: "app/1", address: "a" }, { name: "app/2", address: "b" }] }],
  databases: [
    {
      name: "main",
      listen: "c",
      max_lag_seconds: 2,
      members: [
        { name: "main/0", address: "d", role: "primary" },
        { name: "main/1", address: "e", role: "replica" },
      ],
    },
  ],
};
const NOW_MS = 1_764_000_000_000;

/** `name{label=value,…}` and its value. */
function sample(text: string, value: number | string): Sample {
  const [, name = "", inside = ""] = /^([^{]*)\{?([^}]*)\}?$/.exec(text) ?? [];
  const labels = inside.split(",").filter(Boolean).map((pair) => pair.split("=") as [string, string]);
  return { metric: { ...(name ? { __name__: name } : {}), ...Object.fromEntries(labels) }, value: [NOW_MS / 1000, String(value)] };
}

/** A site where all is well, with some gauges different. */
function answers(changes: Record<string, number> = {}): Answers {
  const gauges: Record<string, number> = {
    "up{job=edge}": 1,
    "up{job=database}": 1,
    "bastide_edge_server_up{pool=app,server=app/1}": 1,
    "bastide_edge_server_up{pool=app,server=app/2}": 1,
    "bastide_database_member_up{database=main,member=main/0,role=primary}": 1,
    "bastide_database_member_up{database=main,member=main/1,role=replica}": 1,
    "bastide_database_replica_lag_seconds{database=main,member=main/1}": 0.01,
    "site:qps": 12,
    "site:errors:ratio": 0,
    ...changes,
  };
  return { gauges: Object.entries(gauges).map(([text, value]) => sample(text, value)) };
}

const judge = (a: Answers, targets: Target[] = [], alerts: Alert[] = []) => verdict(view(LINE, a, targets, NOW_MS), alerts);

test("the verdict says who is not well, and nothing more", () => {
  const firing: Alert = { labels: { alertname: "x" }, annotations: {}, state: "firing" };
  const cases: [Answers, string, string][] = [
    [{}, "unknown", "Nothing has been read yet; the first readings take a few seconds."],
    [answers(), "up", "Everything is up."],
    [answers({ "site:qps": 0 }), "up", "Everything is up; no traffic just now."],
    [answers({ "bastide_edge_server_up{pool=app,server=app/2}": 0 }), "warn", "app/2 is down."],
    [
      answers({ "bastide_edge_server_up{pool=app,server=app/1}": 0, "bastide_edge_server_up{pool=app,server=app/2}": 0 }),
      "down",
      "app/1 and app/2 are down.",
    ],
    [
      answers({ "bastide_database_member_up{database=main,member=main/0,role=primary}": 0 }),
      "down",
      "Database main: no primary: writes fail; main/0 is down.",
    ],
    [answers({ "bastide_database_replica_lag_seconds{database=main,member=main/1}": 2.5 }), "warn", "main/1 is impaired."],
    [answers({ "site:errors:ratio": 0.034 }), "warn", "3.4\u00a0% of requests fail."],
    [answers({ "up{job=edge}": 0 }), "down", "The edge is not readable."],
    [answers({ "bastide_process_up{process=control}": 0 }), "warn", "control does not run."],
    [answers({ "bastide_process_up{process=database.main/1}": 0, "bastide_database_member_up{database=main,member=main/1,role=replica}": 0 }), "warn", "main/1 is down."],
  ];
  for (const [given, health, why] of cases) {
    assert.deepEqual(judge(given), { health, why });
  }
  assert.deepEqual(judge(answers(), [], [firing, { ...firing, state: "pending" }]), { health: "warn", why: "1 alert fires." });
});

test("after a failover the role follows what answers, not what was meant", () => {
  const v = view(
    LINE,
    answers({
      "bastide_database_member_up{database=main,member=main/0,role=primary}": 0,
      "bastide_database_member_up{database=main,member=main/1,role=replica}": 0,
      "bastide_database_member_up{database=main,member=main/1,role=primary}": 1,
    }),
    [],
    NOW_MS,
  );
  assert.deepEqual(
    v.databases[0]?.members.map((m) => [m.role, m.health]),
    [["primary", "down"], ["primary", "up"]],
  );
  assert.equal(v.databases[0]?.health, "up");
});

test("rates are those of the server, and 5xx or no answer is an error", () => {
  const v = view(
    LINE,
    {
      ...answers(),
      serverRequests: [
        sample("{pool=app,server=app/1,code=200}", 8),
        sample("{pool=app,server=app/1,code=502}", 1),
        sample("{pool=app,server=app/1,code=error}", 1),
        sample("{pool=app,server=app/2,code=404}", 4),
      ],
      statements: [
        sample("{database=main,member=main/0,kind=write}", 2),
        sample("{database=main,member=main/0,kind=read}", 1),
        sample("{database=main,member=main/1,kind=read}", 3),
      ],
      restarts: [sample("{process=app/2}", 1.01)],
    },
    [],
    NOW_MS,
  );
  const [one, two] = v.pools[0]?.servers ?? [];
  assert.deepEqual([one?.qps, one?.errors, one?.health], [10, 0.2, "warn"]);
  assert.deepEqual([two?.qps, two?.errors, two?.why], [4, 0, "restarted once within the hour"]);
  assert.deepEqual([v.databases[0]?.statements, v.databases[0]?.replicaShare], [6, 0.75]);
});

test("a certificate's colour follows the days it has left", () => {
  const name = "bastide_edge_certificate_expiry_timestamp_seconds";
  const days = (n: number) => NOW_MS / 1000 + n * 86_400;
  const v = view(
    LINE,
    answers({ [`${name}{name=c}`]: days(30), [`${name}{name=a}`]: days(-1), [`${name}{name=b}`]: days(5) }),
    [],
    NOW_MS,
  );
  assert.deepEqual(
    v.certificates.map((c) => [c.name, c.health]),
    [["a", "down"], ["b", "warn"], ["c", "up"]],
  );
});

test("a target's reason is told", () => {
  const target: Target = { labels: { job: "edge", instance: "edge" }, health: "down", lastError: "connection refused" };
  const v = view(LINE, answers(), [target], NOW_MS);
  assert.equal(v.edge.why, "not readable: connection refused");
  assert.deepEqual([v.monitor.health, v.monitor.why], ["warn", "cannot read edge"]);
});

test("what is no number is not known", () => {
  const samples = [sample("{a=1}", "NaN"), sample("{a=2}", "+Inf"), sample("{a=3}", 4)];
  assert.equal(pick(samples, { a: "1" }), null);
  assert.equal(pick(samples, { a: "2" }), null);
  assert.equal(total(samples), 4);
  assert.equal(total(samples, { a: "1" }), null);
  assert.equal(total(undefined), null);
});

test("names are listed as people do", () => {
  for (const [names, expected] of [
    [[], ""],
    [["a"], "a"],
    [["a", "b"], "a and b"],
    [["a", "b", "c"], "a, b and c"],
    [["a", "b", "c", "d", "e"], "a, b and 3 more"],
  ] as const) {
    assert.equal(list([...names]), expected);
  }
});
