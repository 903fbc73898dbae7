use super::*;
use monitor_model::Labels as ModelLabels;

const NOW_MS: i64 = 1_643_114_203_000;

fn labels() -> Labels {
    vec![
        ("instance".into(), "[::1]:6006".into()),
        ("pool".into(), "app".into()),
        ("server".into(), "app/1".into()),
    ]
}

fn samples(expr: &str) -> Result<Vec<Sample>, String> {
    let one = |id: &str, value: f64| Sample {
        labels: ModelLabels::from_pairs([("__name__", "m"), ("id", id), ("__value__", "text")]),
        value: SampleValue::Float(value),
    };
    match expr {
        "none" => Ok(Vec::new()),
        "wrong" => Err("bad expression".to_owned()),
        _ => Ok(vec![one("b", 2.0), one("a", 1.5)]),
    }
}

fn rendered(template: &str, value: f64) -> Result<String, TemplateError> {
    let environment =
        Environment { query: Some(&samples), external_url: "http://h:9600/pre/", now_ms: NOW_MS };
    let external = vec![("site".to_owned(), "shop".to_owned())];
    let (labels, value) = (labels(), SampleValue::Float(value));
    let data = RuleData { labels: &labels, external_labels: &external, value: &value };
    Template::parse(template)?.render(&data, &environment)
}

#[test]
fn what_alerts_write() {
    // The humanize cases are those of Prometheus' tests.
    let cases: &[(&str, f64, &str)] = &[
        ("plain", 0.0, "plain"),
        ("{{ $labels.server }} of {{$labels.pool}}: {{ $value }}", 0.25, "app/1 of app: 0.25"),
        ("{{ .Labels.server }} {{ .Value }}", 3.0, "app/1 3"),
        ("{{ $labels.absent }}|", 0.0, "|"),
        ("a {{- $value -}} b", 1.0, "a1b"),
        ("a{{/* said */}}b {{- /* and */ -}} c", 1.0, "abc"),
        ("{{ $value | humanize }}", 1_234_567.0, "1.235M"),
        ("{{ humanize $value }}", 0.001, "1m"),
        ("{{ humanize $value }}", 0.0, "0"),
        ("{{ humanize \"1048576\" }} {{ humanize 1048576 }}", 0.0, "1.049M 1.049M"),
        ("{{ humanize1024 $value }}", 1_048_576.0, "1Mi"),
        ("{{ humanizePercentage $value }}", 0.1234567, "12.35%"),
        ("{{ $value | humanizeDuration }}", 0.0, "0s"),
        ("{{ $value | humanizeDuration }}", 899.99, "14m 59s"),
        ("{{ $value | humanizeDuration }}", 86_400.0, "1d 0h 0m 0s"),
        ("{{ $value | humanizeDuration }}", 0.1, "100ms"),
        ("{{ $value | humanizeDuration }}", 12.345_67, "12.35s"),
        ("{{ $value | humanizeTimestamp }}", 1_435_065_584.128, "2015-06-23 13:19:44.128 +0000 UTC"),
        ("{{ printf \"%.2f of %s\" $value $labels.pool }}", 1.0 / 3.0, "0.33 of app"),
        ("{{ $value | printf \"%.1f%%\" }}", 12.34, "12.3%"),
        ("{{ $labels.pool | toUpper }} {{ \"a b\" | title }}", 0.0, "APP A B"),
        ("{{ `}}` }}", 0.0, "}}"),
        ("{{ $value }}", f64::NAN, "NaN"),
        ("{{ $value }}", 1e-7, "1e-07"),
        ("{{ $value }}", 12_345_678.0, "1.2345678e+07"),
        ("{{ $value }}", 123_456.5, "123456.5"),
        ("{{ $value | humanize }}", f64::INFINITY, "+Inf"),
        (
            "{{ $externalLabels.site }} {{ .ExternalURL }} {{ pathPrefix }} {{ externalURL }}",
            0.0,
            "shop http://h:9600/pre/ /pre http://h:9600/pre/",
        ),
        (
            "{{ stripPort $labels.instance }} {{ stripPort \"127.0.0.1:4004\" }} {{ stripPort \"h\" }}",
            0.0,
            "::1 127.0.0.1 h",
        ),
        ("{{ stripDomain \"a.b.example:9\" }} {{ stripDomain \"1.2.3.4:9\" }}", 0.0, "a:9 1.2.3.4:9"),
        ("{{ parseDuration \"2h10m15s\" }}", 0.0, "7815"),
        (
            "{{ graphLink \"up{a=\\\"b\\\"} 1\" }} {{ tableLink \"up\" }}",
            0.0,
            "/graph?g0.expr=up%7Ba%3D%22b%22%7D+1&g0.tab=0 /graph?g0.expr=up&g0.tab=1",
        ),
        ("{{ (toTime 1643114203).Year }} {{ now }}", 0.0, "2022 1.643114203e+09"),
    ];
    for (template, value, expected) in cases {
        assert_eq!(rendered(template, *value).as_deref(), Ok(*expected), "{template} {value}");
    }
}

#[test]
fn the_language() {
    let cases: &[(&str, &str)] = &[
        ("{{ if gt $value 1.0 }}big{{ else }}small{{ end }}", "big"),
        ("{{ if eq $labels.pool \"x\" \"app\" }}yes{{ end }}", "yes"),
        ("{{ if eq $value 0.0 }}a{{ else if eq $value 2.0 }}b{{ else }}c{{ end }}", "b"),
        ("{{ if and $value (not $labels.absent) (or false \"x\") }}1{{ end }}", "1"),
        ("{{ or $labels.absent \"none\" }} {{ and 1 0 2 }}", "none 0"),
        (
            "{{ with $labels.pool }}<{{ . }}{{ $.Value }}>{{ end }}{{ with $labels.absent }}x{{ else }}y{{ end }}",
            "<app2>y",
        ),
        ("{{ with $x := 3 }}{{ $x }}{{ end }}", "3"),
        (
            "{{ range $i, $s := query \"m\" }}{{ if $i }},{{ end }}{{ $s.Labels.id }}={{ $s.Value }}{{ end }}",
            "b=2,a=1.5",
        ),
        ("{{ range query \"none\" }}x{{ else }}empty{{ end }}", "empty"),
        ("{{ query \"m\" | sortByLabel \"id\" | first | label \"id\" }}", "a"),
        ("{{ query \"m\" | first | value }} {{ query \"m\" | first | strvalue }}", "2 text"),
        (
            "{{ define \"t\" }}{{ .arg0 }}+{{ .arg1 }}{{ .arg9 }}{{ end }}{{ template \"t\" (args \"a\" 99) }}",
            "a+99<no value>",
        ),
        ("{{ block \"b\" 5 }}[{{ . }}]{{ end }}{{ template \"b\" 6 }}", "[5][6]"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ end }}{{ $x }}", "1"),
        ("{{ range $i, $v := query \"m\" }}{{ if eq $i 1 }}{{ break }}{{ end }}{{ $i }}{{ end }}", "0"),
        (
            "{{ range query \"m\" }}{{ if eq .Labels.id \"b\" }}{{ continue }}{{ end }}{{ .Labels.id }}{{ end }}",
            "a",
        ),
        ("{{ range 3 }}{{ . }}{{ end }}", "012"),
        ("{{ range $k, $v := $labels }}{{ $k }};{{ end }}", "instance;pool;server;"),
        (
            "{{ len \"abc\" }} {{ len $labels }} {{ index $labels \"pool\" }} {{ slice \"abcd\" 1 3 }}",
            "3 3 app bc",
        ),
        (
            "{{ if match \"[0-9]+\" \"1234\" }}{{ reReplaceAll \"r.*d\" \"replaced\" \"rpld text\" }}{{ end }}",
            "replaced text",
        ),
        ("{{ reReplaceAll \"(.)b\" \"${1}c\" \"ab\" }}", "ac"),
        ("{{ if match \"[0-9]+$\" \"1234a\" }}WRONG{{ end }}.", "."),
        ("{{ print \"a\" 1 2 \"b\" }} {{ html \"<a>\" }} {{ urlquery \"a b&\" }}", "a1 2b &lt;a&gt; a+b%26"),
        ("{{ ne 1 2 }} {{ le 1 1 }} {{ lt \"a\" \"b\" }} {{ ge 1 2 }}", "true true true false"),
        ("{{ tmpl \"t\" 3 }}{{ define \"t\" }}<{{ . }}>{{ end }}", "<3>"),
        ("{{ $labels }}", "map[instance:[::1]:6006 pool:app server:app/1]"),
        ("a\n{{- if true }}\nb\n{{- end }}\nc", "a\nb\nc"),
        ("{{ 0x10 }} {{ -5 }} {{ 1e3 }} {{ 'a' }} {{ \"\\u00e9\\x41\\n\" }}|", "16 -5 1000 97 éA\n|"),
    ];
    for (template, expected) in cases {
        assert_eq!(rendered(template, 2.0).as_deref(), Ok(*expected), "{template}");
    }
}

#[test]
fn a_histogram_is_shown_as_prometheus_does() {
    let histogram = monitor_model::Histogram { count: 2.0, sum: 3.5, zero_count: 2.0, ..Default::default() };
    let (labels, value) = (labels(), SampleValue::Histogram(std::sync::Arc::new(histogram)));
    let data = RuleData { labels: &labels, external_labels: &labels, value: &value };
    let environment = Environment { query: None, external_url: "", now_ms: 0 };
    let shown = Template::parse("{{ $value }}").unwrap().render(&data, &environment).unwrap();
    assert!(shown.starts_with("{count:2, sum:3.5"), "{shown}");
}

#[test]
fn what_is_not_understood_says_so() {
    let cases = [
        ("{{ $value", "no `}}`"),
        ("x {{ if $value }}y", "no `{{ end }}`"),
        ("{{ end }}", "without a beginning"),
        ("{{ $lables.x }}", "`$lables` is not declared"),
        ("a\nb {{ humanise $value }}", "line 2: function `humanise` is not defined"),
        ("{{ \"open }}", "does not end"),
        ("{{ 1 $value }}", "stands alone"),
        ("{{ $value | \"x\" }}", "stands alone"),
        ("{{ }}", "without content"),
        ("{{ ( $value }}", "without `)`"),
        ("{{ $value ) }}", "without `(`"),
        ("{{ break }}", "does not belong"),
        ("{{ if }}x{{ end }}", "missing"),
        ("{{ $x = 1 }}", "not declared"),
        ("{{ /* x }}", "not"),
        ("{{ nil }}", "`nil`"),
    ];
    for (template, expected) in cases {
        let error = Template::parse(template).unwrap_err().to_string();
        assert!(error.contains(expected), "{template}: {error}");
    }
    let run_time = [
        ("{{ humanize $labels.pool }}", "not a number"),
        ("{{ .Nothing }}", "no field `Nothing`"),
        ("{{ $value.x }}", "no fields"),
        ("{{ template \"none\" }}", "not defined"),
        ("{{ query \"wrong\" }}", "bad expression"),
        ("{{ query \"none\" | first }}", "no elements"),
        ("{{ printf \"%99999999f\" $value }}", "too wide"),
        ("{{ match \"(\" \"a\" }}", "no regular expression"),
        ("{{ index (query \"m\") 7 }}", "index `7`"),
        ("{{ len 3 }}", "`len` of"),
        ("{{ eq 1 \"a\" }}", "cannot be compared"),
        ("{{ $value 1 }}", "no function"),
    ];
    for (template, expected) in run_time {
        let error = rendered(template, 1.0).unwrap_err().to_string();
        assert!(error.contains(expected), "{template}: {error}");
    }
    assert!(Template::parse(&"x".repeat(MAX_TEMPLATE_BYTES + 1)).is_err());
    let deep = "{{ if true }}".repeat(1_000);
    assert!(Template::parse(&deep).unwrap_err().to_string().contains("deeper"));
}

#[test]
fn a_hostile_template_ends() {
    let double = "{{ $x := \"xxxxxxxxxxxxxxxx\" }}{{ range 40 }}{{ $x = printf \"%s%s\" $x $x }}{{ end }}";
    let cases = [
        ("{{ define \"a\" }}{{ template \"a\" }}{{ end }}{{ template \"a\" }}", "deep"),
        ("{{ range 9999999999 }}{{ range 9999999999 }}{{ end }}{{ end }}", "steps"),
        ("{{ range 9999999999 }}xxxxxxxxxxxxxxxxxxx{{ end }}", "bytes"),
        (double, "steps"),
        (
            "{{ $x := printf \"%1000s\" \"\" }}{{ $y := print $x $x $x $x $x $x $x $x $x $x }}{{ $z := print $y $y $y $y }}{{ reReplaceAll \" \" $y $z }}",
            "bytes",
        ),
        ("{{ range 100 }}{{ query \"m\" }}{{ end }}", "queries"),
        ("{{ range 9999 }}{{ match \"a{500}\" \"b\" }}{{ end }}", "steps"),
    ];
    for (template, expected) in cases {
        let error = rendered(template, 1.0).unwrap_err().to_string();
        assert!(error.contains(expected), "{template}: {error}");
    }
}

#[test]
fn the_compliance_suite_of_alert_generators() {
    // Templates of prometheus/compliance, `alert_generator/rules.yaml`, with what its suite expects.
    let cases = [
        (
            "{{humanize 1048576}} {{humanize1024 1048576}} {{humanizeDuration 135.3563}} {{humanizePercentage 0.959}} {{humanizeTimestamp 1643114203}}",
            "1.049M 1Mi 2m 15s 95.9% 2022-01-25 12:36:43 +0000 UTC",
        ),
        (
            "{{title \"this part\"}} {{toUpper \"is testing\"}} {{toLower \"THE STRINGS\"}}. {{ stripPort \"[::1]:6006\"}} {{ stripPort \"127.0.0.1:4004\"}}. {{parseDuration \"2h10m15s\"}}. {{if match \"[0-9]+\" \"1234\"}}{{reReplaceAll \"r.*d\" \"replaced\" \"rpld text\"}}{{end}}. {{if match \"[0-9]+$\" \"1234a\"}}WRONG{{end}}.",
            "This Part IS TESTING the strings. ::1 127.0.0.1. 7815. replaced text. .",
        ),
        (
            "{{ define \"testtemplate\" }}Args are: {{.arg0}} {{.arg1}} {{.arg2}}. {{ with query \"m\" }}first_id:{{ . | sortByLabel \"id\" | first | label \"id\"}},{{ range $v := sortByLabel \"id\" .}}{{ . | label \"id\" }}:{{ . | value }},{{end}}{{end}}{{ end }}{{ template \"testtemplate\" (args \"foo\" \"bar\" 99) }}",
            "Args are: foo bar 99. first_id:a,a:1.5,b:2,",
        ),
    ];
    for (template, expected) in cases {
        assert_eq!(rendered(template, 0.0).as_deref(), Ok(expected));
    }
}
