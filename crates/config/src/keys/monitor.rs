//! `[monitor]`: what is scraped and read, and how long it is kept.

use crate::declare::{choice, table};
use crate::defaults;
use crate::diagnostic::quote;
use crate::keys::alert::{LabelName, UrlOrSecret};
use crate::read::{Text, Wrong};
use crate::span::Spanned;
use crate::values::{FilePath, Name, Pairs, SecretSource, check_url, text_value};
use base::{Address, Bytes, Millis};
use std::net::SocketAddr;

table! {
    /// The monitor: it scrapes all parts of the site and this machine, keeps what it sees, alerts, and serves
    /// the page and Prometheus' HTTP API.
    pub struct Monitor: "[monitor]";

    /// Where page and API are served. They show everything and ask for no password.
    default listen: SocketAddr = defaults::MONITOR_LISTEN;
    why "the port is taken, or a private network should see the page"; example r#"listen = "10.0.0.2:9600""#;

    /// Samples older than this are dropped.
    default retention: Millis = defaults::RETENTION, in Millis(3_600_000)..=Millis(3_650 * 86_400_000);
    why "the disk is small, or last year is to be compared"; example r#"retention = "90d""#;

    /// The oldest samples are dropped when the store is larger than this; `"0B"` is no limit.
    default retention_size: Bytes = defaults::RETENTION_SIZE;
    why "the disk is small"; example r#"retention_size = "1GiB""#;

    /// Between two scrapes of a target.
    default scrape_interval: Millis = defaults::SCRAPE_INTERVAL, in Millis(1_000)..=Millis(300_000);
    why "there are many targets, or the disk is small"; example r#"scrape_interval = "15s""#;

    /// How long rollups of five minutes are kept: the last, smallest, largest, sum and count of each window
    /// stand in for samples that are older than `retention`.
    default retention_5m: Millis = defaults::RETENTION_5M, in Millis(3_600_000)..=Millis(7_300 * 86_400_000);
    why "months are to be compared hour by hour"; example r#"retention_5m = "365d""#;

    /// How long rollups of an hour are kept.
    default retention_1h: Millis = defaults::RETENTION_1H, in Millis(3_600_000)..=Millis(7_300 * 86_400_000);
    why "years are to be compared, or the disk is small"; example r#"retention_1h = "1825d""#;

    /// What a loss of power may cost of samples that were acknowledged; `"0s"` syncs every write. A process
    /// that is killed loses none whatever this says.
    default sync: Millis = defaults::STORE_SYNC, in Millis(0)..=Millis(60_000);
    why "the machine has no battery and every sample counts"; example r#"sync = "0s""#;

    /// How much older than the newest sample one may be that comes late.
    default out_of_order: Millis = defaults::OUT_OF_ORDER, in Millis(0)..=Millis(7 * 86_400_000);
    why "others send here after they were away for longer"; example r#"out_of_order = "1d""#;

    /// Series in memory at once; new ones beyond are refused and counted.
    default max_series: u32 = defaults::MAX_SERIES, in 1_000..=100_000_000;
    why "there are many targets, or memory is short"; example "max_series = 3000000";

    /// What one scrape may bring. One that brings more fails, and says so.
    nested limits: Limits;
    why "a program shows very many series"; example r#"limits = { samples = 500000 }"#;

    /// What queries may take, of the page, Grafana and rules.
    nested queries: Queries;
    why "large boards, or little memory"; example r#"queries = { timeout = "2m", samples = 50000000 }"#;

    /// Whether the parts of this site and this machine are scraped. Without them there are no charts and no
    /// alerts but those of what else is scraped, or pushed here.
    default scrape_own: bool = true;
    why "this monitor only keeps what others send"; example "scrape_own = false";

    /// Other programs to scrape: Prometheus' text format, OpenMetrics or protobuf.
    default scrape: Vec<Spanned<Scrape>> = vec![];
    why "other programs have metrics"; example r#"scrape = [{ job = "queue", url = "http://127.0.0.1:9100/metrics" }]"#;

    /// Prometheus' own files, whose `scrape_configs` are scraped as they stand there: static, file, HTTP and DNS
    /// discovery, relabelling, TLS, logins. Files, or patterns in which `*` stands for any part of a name.
    default scrape_files: Vec<Spanned<FilePath>> = vec![];
    why "a Prometheus is replaced"; example r#"scrape_files = ["/etc/prometheus/prometheus.yml"]"#;

    /// Prometheus' rule files, recording and alerting, as they are. Files, or patterns in which `*` stands for
    /// any part of a name.
    default rules: Vec<Spanned<FilePath>> = vec![];
    why "there are rules already, or they are shared"; example r#"rules = ["./rules/*.yml"]"#;

    /// Alertmanager's own file: its routes, inhibitions, time intervals and receivers decide about all alerts.
    /// Absent: each alert goes to the receivers that it names.
    optional alertmanager: FilePath;
    why "an Alertmanager is replaced"; example r#"alertmanager = "./alertmanager.yml""#;

    /// Labels that tell this monitor from others, added to alerts, to what is sent on and to federation.
    default external_labels: Pairs<LabelName, String> = Pairs(vec![]);
    why "several monitors send to one place"; example r#"external_labels = { site = "shop", region = "eu" }"#;

    /// Where readers of alerts find the page. Absent: the address of `listen`.
    optional external_url: Url;
    why "the page is reached through the edge or a tunnel"; example r#"external_url = "https://monitor.shop.example""#;

    /// Whether samples may be pushed here: Prometheus' remote write 1.0 and 2.0 at `/api/v1/write`, OTLP
    /// metrics at `/api/v1/otlp/v1/metrics`. Whoever reaches `listen` may then write.
    default receive: bool = false;
    why "a Prometheus, an agent or an OpenTelemetry SDK sends here"; example "receive = true";

    /// How OTLP metrics become series, in Prometheus' own words (its `otlp` section).
    nested otlp: Otlp;
    why "attributes of the sender's resource should be labels"; example r#"otlp = { promote_resource_attributes = ["service.version"] }"#;

    /// Whether the API may delete series and make snapshots. Whoever reaches `listen` may then do so.
    default admin_api: bool = false;
    why "series must be deleted, or backups are made over HTTP"; example "admin_api = true";

    /// Where samples are sent on to by remote write.
    default remote_write: Vec<Spanned<RemoteWrite>> = vec![];
    why "another store keeps them for all sites"; example r#"remote_write = [{ url = "https://metrics.example/api/v1/write", token = { env = "METRICS_TOKEN" } }]"#;

    /// Access logs of other programs to read.
    default logs: Vec<Spanned<Log>> = vec![];
    why "nginx or Apache serve a part of the site"; example r#"logs = [{ path = "/var/log/nginx/access.log" }]"#;

    /// How long the lines of access logs can be searched, from the page and with `bastide logs`; `"0s"` keeps none.
    default log_retention: Millis = defaults::LOG_RETENTION, in Millis(0)..=Millis(3_650 * 86_400_000);
    why "the disk is small, or last quarter's requests matter"; example r#"log_retention = "90d""#;

    /// The oldest lines are dropped when the archive is larger than this.
    default log_size: Bytes = defaults::LOG_SIZE, in Bytes(1 << 20)..=Bytes(1 << 50);
    why "the disk is small"; example r#"log_size = "500MiB""#;

    /// A folder whose `*.prom` files the agent shows as they are, as node_exporter's textfile collector does.
    optional textfiles: FilePath;
    why "scripts write their results there"; example r#"textfiles = "/var/lib/prometheus/node-exporter""#;

    /// What the agent reads of this machine; its defaults are node_exporter's.
    nested agent: AgentHost;
    why "mounts or devices come and go, or there are hundreds of units"; example r#"agent = { except_devices = "^veth" }"#;

    /// An outside checker that is asked at intervals while rules are evaluated in time: it alerts when it
    /// hears nothing, which this monitor cannot do about itself.
    optional dead_man: DeadMan;
    why "the machine itself may die"; example r#"dead_man = { url = { env = "DEAD_MAN_URL" } }"#;
}

table! {
    /// What one scrape may bring.
    pub struct Limits: "limits";

    /// Bytes of the answer, unpacked.
    default body: Bytes = defaults::SCRAPE_BODY, in Bytes(1 << 10)..=Bytes(1 << 30);
    why "a program shows very many series"; example r#"limits = { body = "256MiB" }"#;

    /// Samples, after relabelling.
    default samples: u32 = defaults::SCRAPE_SAMPLES, in 1..=100_000_000;
    why "a program may make series without end"; example "limits = { samples = 5000 }";

    /// Different series of one target within a day; `0` is no limit. Those beyond are refused and counted,
    /// and the rest of the scrape is kept.
    default series: u32 = defaults::SCRAPE_SERIES;
    why "a program puts addresses or ids into labels"; example "limits = { series = 20000 }";

    /// Labels of a series.
    default labels: u32 = defaults::SCRAPE_LABELS, in 1..=1_000;
    why "a program uses more"; example "limits = { labels = 30 }";

    /// Bytes of a label's value.
    default label_value: u32 = defaults::SCRAPE_LABEL_VALUE, in 1..=65_536;
    why "a program puts texts into labels"; example "limits = { label_value = 500 }";
}

table! {
    /// What queries may take. Beyond it a query is refused with a message; scraping and rules never wait for one.
    pub struct Queries: "queries";

    /// Queries that run at once; others wait for their turn.
    default at_once: u32 = defaults::QUERIES_AT_ONCE, in 1..=1_000;
    why "many boards are open at once"; example "queries = { at_once = 20 }";

    /// The longest that one may take, waiting included.
    default timeout: Millis = defaults::QUERY_TIMEOUT, in Millis(100)..=Millis(3_600_000);
    why "a year is summed up"; example r#"queries = { timeout = "2m" }"#;

    /// Samples that one may hold, 16 bytes each.
    default samples: u32 = defaults::QUERY_SAMPLES, in 1_000..=1_000_000_000;
    why "large boards need more, and there is memory"; example "queries = { samples = 50000000 }";

    /// How far back a value counts as current.
    default lookback: Millis = defaults::QUERY_LOOKBACK, in Millis(1)..=Millis(86_400_000);
    why "programs are scraped less often than every five minutes"; example r#"queries = { lookback = "15m" }"#;

    /// One that takes longer is told in the event log, with its text.
    default slow: Millis = defaults::QUERY_SLOW, in Millis(1)..=Millis(3_600_000);
    why "a board is slow and nobody knows which"; example r#"queries = { slow = "1s" }"#;
}

table! {
    /// How OTLP metrics become series.
    pub struct Otlp: "otlp";

    /// How names are written.
    default translation_strategy: OtlpNames = OtlpNames::UnderscoreEscapingWithSuffixes;
    why "boards use OpenTelemetry's own names"; example r#"otlp = { translation_strategy = "NoTranslation" }"#;

    /// Attributes of a resource that its series have as labels; the others are on `target_info` alone.
    default promote_resource_attributes: Vec<Spanned<String>> = vec![];
    why "series are to be told apart by them"; example r#"otlp = { promote_resource_attributes = ["service.version", "deployment.environment"] }"#;

    /// All attributes of a resource become labels.
    default promote_all_resource_attributes: bool = false;
    why "there are few, and all matter"; example "otlp = { promote_all_resource_attributes = true }";

    /// With `promote_all_resource_attributes`: all but these.
    default ignore_resource_attributes: Vec<Spanned<String>> = vec![];
    why "some differ with every start"; example r#"otlp = { promote_all_resource_attributes = true, ignore_resource_attributes = ["process.pid"] }"#;

    /// `target_info` has `service.name`, `service.namespace` and `service.instance.id`, too, which are `job` and `instance`.
    default keep_identifying_resource_attributes: bool = false;
    why "boards join by them"; example "otlp = { keep_identifying_resource_attributes = true }";

    /// Series have name, version and attributes of their scope as `otel_scope_…`.
    default promote_scope_metadata: bool = false;
    why "two libraries give metrics of one name"; example "otlp = { promote_scope_metadata = true }";

    /// Histograms with explicit bounds become native ones with custom buckets, else classic ones.
    default convert_histograms_to_nhcb: bool = false;
    why "they are many: one series is cheaper than one a bucket"; example "otlp = { convert_histograms_to_nhcb = true }";

    /// Differences (delta temporality) are stored as they are; else they are refused, as `rate` wants counters.
    default native_delta_ingestion: bool = false;
    why "the sender can only send differences"; example "otlp = { native_delta_ingestion = true }";
}

choice! {
    /// How OpenTelemetry's names become series' names.
    pub enum OtlpNames {
        /// other characters become underscores; unit and `_total` are appended
        UnderscoreEscapingWithSuffixes = "UnderscoreEscapingWithSuffixes",
        /// other characters become underscores; nothing is appended
        UnderscoreEscapingWithoutSuffixes = "UnderscoreEscapingWithoutSuffixes",
        /// names stay; unit and `_total` are appended
        NoUtf8EscapingWithSuffixes = "NoUTF8EscapingWithSuffixes",
        /// names stay as they are
        NoTranslation = "NoTranslation",
    }
}

table! {
    /// What the agent reads of this machine. Patterns are regular expressions that match anywhere unless they
    /// are anchored with `^` and `$`, as node_exporter's do; one that is given replaces the agent's own.
    pub struct AgentHost: "agent";

    /// The label `job` of its samples. Absent: `"agent"`.
    optional job: Name;
    why "rules and boards that were made for node_exporter ask for their own"; example r#"agent = { job = "node" }"#;

    /// Collectors that are not run, by node_exporter's names, or `cgroup`, `processes`, `systemd`.
    default without: Vec<Spanned<String>> = vec![];
    why "nobody looks at them"; example r#"agent = { without = ["hwmon", "systemd"] }"#;

    /// Mount points that are left out. Absent: those below `/dev`, `/proc`, `/sys` and containers' folders.
    optional except_mounts: String;
    why "snapshots are mounted for a while"; example r#"agent = { except_mounts = "^/(dev|proc|sys|mnt/snapshots)($|/)" }"#;

    /// Types of file systems that are left out. Absent: those that hold no data.
    optional except_filesystems: String;
    why "network file systems may hang"; example r#"agent = { except_filesystems = "^(nfs4?|tmpfs|proc|sysfs|overlay)$" }"#;

    /// Disks that are left out. Absent: RAM disks, loops and partitions.
    optional except_disks: String;
    why "there are very many"; example r#"agent = { except_disks = "^(loop|ram|dm-)" }"#;

    /// Network devices that are left out. Absent: none.
    optional except_devices: String;
    why "containers make one each"; example r#"agent = { except_devices = "^veth" }"#;

    /// The only systemd units that are read. Absent: all that `except_units` leaves.
    optional only_units: String;
    why "a few services matter"; example r#"agent = { only_units = '^(nginx|postgresql@.+)\.service$' }"#;

    /// Units that are left out. Absent: automounts, devices, mounts, scopes and slices.
    optional except_units: String;
    why "timers make one each"; example r#"agent = { except_units = '\.(mount|device|scope|slice|timer)$' }"#;

    /// Between two readings of programs, control groups and units.
    default slow_interval: Millis = defaults::AGENT_SLOW, in Millis(5_000)..=Millis(3_600_000);
    why "there are thousands of processes"; example r#"agent = { slow_interval = "2m" }"#;

    /// Between two readings of a PostgreSQL.
    default postgres_interval: Millis = defaults::AGENT_POSTGRES, in Millis(5_000)..=Millis(3_600_000);
    why "there are very many tables"; example r#"agent = { postgres_interval = "2m" }"#;
}

table! {
    /// A program to scrape.
    pub struct Scrape: "scrape";

    /// The label `job` of its samples.
    required job: Name;
    why "always"; example r#"scrape = [{ job = "queue", url = "http://127.0.0.1:9100/metrics" }]"#;

    /// Where it shows its metrics.
    required url: Url;
    why "always"; example r#"scrape = [{ job = "queue", url = "http://127.0.0.1:9100/metrics" }]"#;
}

table! {
    /// Where samples are sent on to.
    pub struct RemoteWrite: "remote_write";

    /// The URL that takes remote write.
    required url: Url;
    why "always"; example r#"remote_write = [{ url = "https://metrics.example/api/v1/write" }]"#;

    /// Its name in metrics and messages. Absent: the URL's host.
    optional name: Name;
    why "two have the same host"; example r#"remote_write = [{ name = "archive", url = "https://metrics.example/api/v1/write" }]"#;

    /// The protocol's version, 1 or 2.
    default version: u32 = 1, in 1..=2;
    why "the far end takes version 2, which is smaller and has native histograms with their metadata"; example r#"remote_write = [{ url = "https://metrics.example/api/v1/write", version = 2 }]"#;

    /// The user of a login by password.
    optional user: String;
    why "the far end asks for one"; example r#"remote_write = [{ url = "https://metrics.example/api/v1/write", user = "shop", password = { env = "METRICS_PASSWORD" } }]"#;

    /// The password.
    optional password: SecretSource;
    why "the far end asks for one"; example r#"remote_write = [{ url = "https://metrics.example/api/v1/write", user = "shop", password = { env = "METRICS_PASSWORD" } }]"#;

    /// The token of a login by `Authorization: Bearer`.
    optional token: SecretSource;
    why "the far end asks for one"; example r#"remote_write = [{ url = "https://metrics.example/api/v1/write", token = { env = "METRICS_TOKEN" } }]"#;

    /// A file with the certificate authority that signed the far end's certificate, in PEM.
    optional ca: FilePath;
    why "its certificate is of a company's own authority"; example r#"remote_write = [{ url = "https://metrics.lan/api/v1/write", ca = "./ca.pem" }]"#;

    /// Bytes of samples that wait on disk while the far end is away; the oldest go when there are more.
    default queue: Bytes = defaults::REMOTE_QUEUE, in Bytes(1 << 20)..=Bytes(1 << 42);
    why "the far end may be away for days, or the disk is small"; example r#"remote_write = [{ url = "https://metrics.example/api/v1/write", queue = "10GiB" }]"#;

    /// The most requests under way at once.
    default shards: u32 = defaults::REMOTE_SHARDS, in 1..=200;
    why "the far end is far away and there are very many samples"; example r#"remote_write = [{ url = "https://metrics.example/api/v1/write", shards = 50 }]"#;

    /// Only series that match one of these selectors are sent. Absent: all.
    default only: Vec<Spanned<String>> = vec![];
    why "the far end keeps the site's own figures only"; example r#"remote_write = [{ url = "https://metrics.example/api/v1/write", only = ['{__name__=~"site:.*"}'] }]"#;

    /// Series that match one of these selectors are not sent.
    default except: Vec<Spanned<String>> = vec![];
    why "some are many and of no use there"; example r#"remote_write = [{ url = "https://metrics.example/api/v1/write", except = ['{__name__=~"go_.*"}'] }]"#;

    /// Labels that are left out of what is sent. Series that differ in them alone are one at the far end.
    default without: Vec<Spanned<LabelName>> = vec![];
    why "the far end may not see them"; example r#"remote_write = [{ url = "https://metrics.example/api/v1/write", without = ["pod"] }]"#;
}

table! {
    /// An outside checker that misses us.
    pub struct DeadMan: "dead_man";

    /// The URL that is asked. One that carries a token comes from `{ env = … }` or `{ file = … }`.
    required url: UrlOrSecret;
    why "always"; example r#"dead_man = { url = { env = "DEAD_MAN_URL" } }"#;

    /// How it is asked.
    default method: PingMethod = PingMethod::Get;
    why "the checker takes POST alone"; example r#"dead_man = { url = { env = "DEAD_MAN_URL" }, method = "POST" }"#;

    /// Between two times.
    default every: Millis = defaults::DEAD_MAN_EVERY, in Millis(5_000)..=Millis(86_400_000);
    why "the checker expects another rhythm"; example r#"dead_man = { url = { env = "DEAD_MAN_URL" }, every = "5m" }"#;
}

choice! {
    /// How an outside checker is asked.
    pub enum PingMethod {
        /// as a browser does
        Get = "GET",
        /// with an empty body
        Post = "POST",
    }
}

table! {
    /// An access log to read.
    pub struct Log: "logs";

    /// The file. It may be renamed and made anew (rotated) while it is read.
    required path: FilePath;
    why "always"; example r#"logs = [{ path = "/var/log/nginx/access.log" }]"#;

    /// How its lines are written.
    default format: LogFormat = LogFormat::Combined;
    why "another Bastide or a program with JSON lines wrote it"; example r#"logs = [{ path = "access.jsonl", format = "bastide" }]"#;

    /// The pattern that its lines follow, as nginx' `log_format` or Apache's `LogFormat` has it; it stands
    /// above `format`.
    optional pattern: String;
    why "the server writes a format of its own, with times for instance"; example r#"logs = [{ path = "/var/log/nginx/access.log", pattern = '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent $request_time' }]"#;

    /// Of JSON lines: which field holds what. Known: `time`, `client`, `host`, `method`, `path`, `status`,
    /// `bytes`, `seconds`; a dot goes into an object.
    default fields: Pairs<Name, String> = Pairs(vec![]);
    why "the program names its fields in its own way"; example r#"logs = [{ path = "app.jsonl", format = "json", fields = { status = "response.code", seconds = "took" } }]"#;

    /// The label `log` of its samples. Absent: the file's name.
    optional name: Name;
    why "two logs have the same file name"; example r#"logs = [{ path = "/var/log/nginx/access.log", name = "nginx" }]"#;
}

choice! {
    /// How an access log's lines are written.
    pub enum LogFormat {
        /// nginx' and Apache's combined or common format
        Combined = "combined",
        /// Bastide's own JSON lines
        Bastide = "bastide",
        /// one JSON object a line; `fields` says what they are called
        Json = "json",
        /// Caddy's JSON access log
        Caddy = "caddy",
        /// Traefik's JSON access log
        Traefik = "traefik",
    }
}

table! {
    /// Something that is tried from outside at intervals: exactly one of `http`, `tcp`, `tls`, `dns`, `icmp`
    /// and `postgres`. Its outcome is a series (`probe_success`), and a line of the status page.
    pub struct Probe: "[probe.NAME]";

    /// The URL of a page.
    optional http: Url;
    why "the site must answer as a visitor sees it"; example r#"http = "https://shop.example/""#;

    /// Of `http`: statuses that are well. Absent: 200 to 299.
    default status: Vec<Spanned<u32>> = vec![];
    why "a page that asks for a login is well with 401"; example "status = [200, 401]";

    /// Of `http`: a regular expression that the page must match.
    optional body: String;
    why "an error page may come with 200"; example r#"body = "Add to cart""#;

    /// Of `http`: a regular expression that the page may not match.
    optional not_body: String;
    why "the page shows its own errors with 200"; example r#"not_body = "Service unavailable""#;

    /// Of `http`: whether redirects are followed, up to ten.
    default redirects: bool = true;
    why "the redirect itself is what must be there"; example "redirects = false";

    /// Of `http` and `tls`: whether any certificate will do.
    default insecure: bool = false;
    why "the certificate is not yet a public one"; example "insecure = true";

    /// Of `http` and `tls`: a file with a certificate authority that is trusted beside the system's, in PEM.
    optional ca: FilePath;
    why "the certificate is of a company's own authority"; example r#"ca = "./ca.pem""#;

    /// An address that must take a connection.
    optional tcp: Address;
    why "a mail server must answer"; example r#"tcp = "mail.shop.example:25""#;

    /// An address that must speak TLS; the end of its certificate becomes a metric.
    optional tls: Address;
    why "a certificate elsewhere must not expire unseen"; example r#"tls = "mail.shop.example:465""#;

    /// Of `tls`: how the connection asks for TLS before it begins.
    optional starttls: StartTls;
    why "a mail server speaks TLS on its plain port"; example r#"starttls = "smtp""#;

    /// Of `tcp` and `tls`: a line that is sent first.
    optional send: String;
    why "the server says nothing by itself"; example r#"send = "PING""#;

    /// Of `tcp` and `tls`: a regular expression that a line of the server must match; of `dns`: one of the
    /// answers, as `dig +short` shows them.
    optional expect: String;
    why "a server that takes connections may still not work"; example r#"expect = "^PONG""#;

    /// A name that must resolve, at `server`.
    optional dns: String;
    why "the name server is a part of the site"; example r#"dns = "shop.example""#;

    /// Of `dns`: the name server's address.
    optional server: Address;
    why "always, with `dns`"; example r#"server = "9.9.9.9:53""#;

    /// Of `dns`: what is asked for.
    default record: RecordType = RecordType::A;
    why "mail must find its way"; example r#"record = "MX""#;

    /// A host that must answer an echo.
    optional icmp: String;
    why "a machine must be reachable"; example r#"icmp = "10.0.0.7""#;

    /// A PostgreSQL that must answer; with `user` and `password` it must run a statement, too.
    optional postgres: Address;
    why "a database elsewhere must answer"; example r#"postgres = "10.0.0.9:5432""#;

    /// Of `postgres`: who logs in.
    optional user: String;
    why "an answer alone does not prove much"; example r#"user = "probe""#;

    /// Of `postgres`: the password.
    optional password: SecretSource;
    why "an answer alone does not prove much"; example r#"password = { env = "PROBE_PASSWORD" }"#;

    /// Of `postgres`: the database.
    default database: String = "postgres".to_owned();
    why "the user may enter another one only"; example r#"database = "shop""#;

    /// Between two tries.
    default every: Millis = defaults::PROBE_EVERY, in Millis(1_000)..=Millis(3_600_000);
    why "an outage must be seen sooner"; example r#"every = "10s""#;

    /// What takes longer has failed. Absent: `"10s"`, or `every` where that is shorter.
    optional timeout: Millis, in Millis(100)..=Millis(60_000);
    why "visitors would not wait that long"; example r#"timeout = "2s""#;

    /// Whether the status page shows it.
    default public: bool = true;
    why "visitors need not know of it"; example "public = false";
}

choice! {
    /// How a connection asks for TLS.
    pub enum StartTls {
        /// mail is sent there
        Smtp = "smtp",
        /// mail is read there
        Imap = "imap",
        /// mail is fetched from there
        Pop3 = "pop3",
    }
}

choice! {
    /// What is asked for.
    pub enum RecordType {
        /// an IPv4 address
        A = "A",
        /// an IPv6 address
        Aaaa = "AAAA",
        /// another name
        Cname = "CNAME",
        /// mail servers
        Mx = "MX",
        /// name servers
        Ns = "NS",
        /// texts
        Txt = "TXT",
        /// services
        Srv = "SRV",
        /// the zone's start
        Soa = "SOA",
    }
}

text_value!(Url);

/// An `http://` or `https://` URL without a login.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url(pub String);

impl Text for Url {
    const WHAT: &'static str = "a URL";
    const SAMPLE: &'static str = "\"http://127.0.0.1:9100/metrics\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        check_url(text)?;
        match text.contains('#') {
            false => Ok(Self(text.to_owned())),
            true => Err(Wrong::new(format!("{} has a fragment", quote(text)), "remove what follows the `#`")),
        }
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}
