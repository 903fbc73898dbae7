//! What `[waf]` becomes: which files are read from where, in which order, what is
//! wrong with them, and what of a change is told.

use config::Severity;
use control::book::Book;
use control::compile::{self, Compiled, Facts, Refusal};
use control::inputs::Inputs;
use std::collections::HashSet;
use std::path::Path;
use tempfile::TempDir;

const ROUTE: &str = "[[route]]\nredirect = \"/x\"\n";

const SETUP: &str =
    "# OWASP CRS ver.4.28.0\nSecAction \"id:900990,phase:1,pass,nolog,setvar:tx.crs_setup_version=4280\"\n";

/// A folder with files, and `bastide.toml` with this `[waf]`.
fn folder(files: &[(&str, &str)], waf: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("[site]\naccess_log = false\n{ROUTE}{waf}");
    for (name, text) in files.iter().chain(&[("bastide.toml", file.as_str())]) {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn compiled(folder: &TempDir) -> Result<Compiled, Refusal> {
    let inputs = Inputs::read(&folder.path().join("bastide.toml")).unwrap();
    let facts =
        Facts { paths: None, program: Path::new("/x"), running: &HashSet::new(), now_ms: 1_790_000_000_000 };
    let compiled = compile::compile(&inputs, &mut Book::blank(), &facts)?;
    // Control compiles from what was sent: it reads nothing itself.
    let sent: Inputs = serde_json::from_str(&serde_json::to_string(&inputs).unwrap()).unwrap();
    let again = compile::compile(&sent, &mut Book::blank(), &facts)?;
    assert_eq!(again.site.edge.waf, compiled.site.edge.waf);
    Ok(compiled)
}

fn findings(folder: &TempDir) -> Vec<(Severity, String)> {
    let found = match compiled(folder) {
        Ok(compiled) => compiled.warnings,
        Err(refusal) => refusal.diagnostics,
    };
    found.into_iter().map(|found| (found.severity, found.message)).collect()
}

/// The names of rule files and of what they name, without the folder.
fn names(folder: &TempDir) -> (Vec<String>, Vec<String>) {
    let waf = compiled(folder).unwrap_or_else(|refusal| panic!("{refusal}")).site.edge.waf.unwrap();
    let root = format!("{}/", folder.path().display());
    let short = |files: &[waf_engine::settings::RuleFile]| {
        files.iter().map(|file| file.name.replace(&root, "")).collect::<Vec<_>>()
    };
    (short(&waf.settings.files), short(&waf.settings.data))
}

const RULE: &str = "SecRule ARGS \"@rx x\" \"id:1001,phase:2,deny\"\n";
const PHRASES: &str = "SecRule ARGS \"@pmFromFile words.data\" \"id:1002,phase:2,deny\"\n";

#[test]
fn the_core_rule_set_is_found_in_each_of_its_layouts() {
    let rules = [
        ("REQUEST-901-INITIALIZATION.conf", RULE),
        ("REQUEST-941-X.conf", PHRASES),
        ("words.data", "attack\n"),
    ];
    // Where the rules lie, where the setup file lies, and what the file says.
    let layouts = [
        ("crs/rules", "crs/crs-setup.conf", "crs"),
        ("crs/rules", "crs/crs-setup.conf.example", "crs"),
        ("crs/rules", "crs/crs-setup.conf", "crs/rules"),
        ("crs", "crs/crs-setup.conf.example", "crs"),
        (
            "usr/share/modsecurity-crs/rules",
            "etc/modsecurity/crs/crs-setup.conf",
            "usr/share/modsecurity-crs",
        ),
        (
            "usr/share/modsecurity-crs/rules",
            "etc/modsecurity/crs/crs-setup.conf",
            "usr/share/modsecurity-crs/rules",
        ),
    ];
    for (place, setup, said) in layouts {
        let at: Vec<String> = rules.iter().map(|(name, _)| format!("{place}/{name}")).collect();
        let mut files: Vec<(&str, &str)> =
            at.iter().zip(rules).map(|(name, (_, text))| (name.as_str(), text)).collect();
        files.push((setup, SETUP));
        let folder = folder(&files, &format!("[waf]\ncrs = \"{said}\"\n"));
        let (read, data) = names(&folder);
        let wanted = ["[waf]", setup, &at[0], &at[1]];
        assert_eq!(read, wanted, "{said}");
        assert_eq!(data, [at[2].as_str()], "{said}");
        let crs = compiled(&folder).unwrap().site.edge.waf.unwrap().crs.unwrap();
        assert_eq!((crs.version.as_str(), crs.files.len()), ("4.28.0", 4), "{said}");
    }
}

#[test]
fn everything_is_read_in_the_order_in_which_it_is_needed() {
    let rule = |id: u32| format!("SecAction \"id:{id},phase:1,pass,nolog\"\n");
    let texts: Vec<String> = (0..9).map(|n| rule(2_000 + n)).collect();
    let folder = folder(
        &[
            ("etc/modsecurity/crs/crs-setup.conf", SETUP),
            ("etc/modsecurity/crs/REQUEST-900-EXCLUSION-RULES-BEFORE-CRS.conf", &texts[0]),
            ("etc/modsecurity/crs/RESPONSE-999-EXCLUSION-RULES-AFTER-CRS.conf", &texts[1]),
            ("usr/share/modsecurity-crs/rules/REQUEST-901-A.conf", &texts[2]),
            ("usr/share/modsecurity-crs/plugins/shop-config.conf", &texts[3]),
            ("usr/share/modsecurity-crs/plugins/shop-before.conf", &texts[4]),
            ("usr/share/modsecurity-crs/plugins/shop-after.conf", &texts[5]),
            ("waf/before.conf", &texts[6]),
            ("waf/own.conf", &texts[7]),
        ],
        "[waf]\ncrs = \"usr/share/modsecurity-crs\"\nbefore = [\"waf/before.conf\"]\nrules = [\"waf/o*.conf\"]\n\
         beyond_limit = \"refuse\"\naudit = \"all\"\n",
    );
    let (read, _) = names(&folder);
    let short: Vec<&str> = read.iter().map(|name| name.rsplit('/').next().unwrap()).collect();
    assert_eq!(
        short,
        [
            "[waf]",
            "crs-setup.conf",
            "shop-config.conf",
            "before.conf",
            "shop-before.conf",
            "REQUEST-900-EXCLUSION-RULES-BEFORE-CRS.conf",
            "REQUEST-901-A.conf",
            "RESPONSE-999-EXCLUSION-RULES-AFTER-CRS.conf",
            "shop-after.conf",
            "own.conf",
            "[waf] again",
        ]
    );
    let waf = compiled(&folder).unwrap().site.edge.waf.unwrap();
    assert!(waf.settings.files[0].text.contains("SecAuditEngine On"));
    assert_eq!(waf.settings.files[10].text, "SecRequestBodyLimitAction Reject\n");
}

#[test]
fn what_rules_include_and_name_is_read_with_them() {
    let folder = folder(
        &[
            ("waf/main.conf", "Include more/*.conf\nIncludeOptional none/*.conf\nInclude ../rest\n"),
            ("waf/more/a.conf", PHRASES),
            ("waf/more/words.data", "caf\u{e9}\n"),
            ("rest/b.conf", RULE),
            ("rest/below/c.conf", "SecAction \"id:1003,phase:1,pass,nolog\"\n"),
        ],
        "[waf]\nrules = [\"waf/main.conf\"]\n",
    );
    std::fs::write(folder.path().join("waf/more/words.data"), b"caf\xe9\n").unwrap();
    let (read, mut data) = names(&folder);
    data.sort();
    assert_eq!(read, ["[waf]", "waf/main.conf"]);
    assert_eq!(data, ["rest/b.conf", "rest/below/c.conf", "waf/more/a.conf", "waf/more/words.data"]);
    let waf = compiled(&folder).unwrap().site.edge.waf.unwrap();
    let words = waf.settings.data.iter().find(|file| file.name.ends_with("words.data")).unwrap();
    assert_eq!(words.text, "caf\u{e9}\n", "bytes that are no UTF-8 are carried as Latin-1");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    use Severity::{Error, Note, Warning};
    let rule = |text: &str| format!("# first line\n{text}\n");
    let cases: &[(&str, &str, Severity, &str)] = &[
        (&rule("SecRule ARGS \"@nonsense x\" \"id:1,phase:2,deny\""), "", Error, "waf/a.conf:2: "),
        (&rule("Include missing.conf"), "", Error, "waf/a.conf:2: `"),
        (&rule("Include missing/*.conf"), "", Error, "waf/a.conf:2: `waf/missing/*.conf` matches no file"),
        (
            &rule("SecRule ARGS \"@pmFromFile gone.data\" \"id:1,phase:2,deny\""),
            "",
            Error,
            "gone.data` cannot be read: it does not exist",
        ),
        (&rule("SecPcreMatchLimit 1000"), "", Note, "waf/a.conf:2: "),
        (RULE, "exclude = [{ rule = 9 }]", Warning, "no rule has the id `9`"),
        (RULE, "exclude = [{ rule = 1000012, path = \"/upload\" }]", Note, ""),
        (RULE, "crs = \"nowhere\"", Error, "nowhere`: it is not a folder"),
        (RULE, "crs = \"waf\"", Error, "waf`: `"),
        (RULE, "crs = true", Error, "there is no Core Rule Set in `/usr/share/modsecurity-crs`"),
    ];
    for (text, keys, severity, expected) in cases {
        if *keys == "crs = true" && Path::new("/usr/share/modsecurity-crs").exists() {
            continue;
        }
        let folder = folder(&[("waf/a.conf", text)], &format!("[waf]\nrules = [\"waf/*.conf\"]\n{keys}\n"));
        let found = findings(&folder);
        let has = found.iter().any(|(s, message)| s == severity && message.contains(expected));
        assert!(has || expected.is_empty() && found.is_empty(), "{text}{keys}: {found:?}");
    }
    let twice = folder(&[("waf/a.conf", RULE)], "[waf]\nrules = [\"waf/*.conf\", \"./waf/a.conf\"]\n");
    assert!(findings(&twice).iter().any(|(s, m)| *s == Error && m.contains("is read twice")));
    if !Path::new("/usr/share/modsecurity-crs").exists() {
        let nothing = folder(&[], "[waf]\n");
        assert!(findings(&nothing).iter().any(|(s, m)| *s == Warning && m.contains("nothing is inspected")));
    }
}

#[test]
fn levels_and_routes() {
    let folder = folder(
        &[("a.conf", RULE)],
        "[[route]]\npath = \"/a\"\nredirect = \"/x\"\nwaf = { paranoia = 3, remove = [1001] }\n\
         [[route]]\npath = \"/b\"\nredirect = \"/x\"\nwaf = { remove = [1001], paranoia = 3 }\n\
         [[route]]\npath = \"/c\"\nredirect = \"/x\"\nwaf = { mode = \"detect\" }\n\
         [[route]]\npath = \"/d\"\nredirect = \"/x\"\nwaf = false\n\
         [waf]\nmode = \"detect\"\nrules = [\"a.conf\"]\nparanoia = 1\ndetection_paranoia = 2\noutbound_threshold = 9\n",
    );
    // The first route, which takes everything, makes the others unreachable; that is
    // a warning and no concern here.
    let site = compiled(&folder).unwrap().site;
    let waf = site.edge.waf.unwrap();
    let tx = |tx: &[(String, String)]| {
        tx.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        tx(&waf.settings.tx),
        "blocking_paranoia_level=1 paranoia_level=1 detection_paranoia_level=2 executing_paranoia_level=2 \
         outbound_anomaly_score_threshold=9"
    );
    assert_eq!(waf.routes.len(), 1, "what is the same is together, what says nothing new is not there");
    assert_eq!(waf.routes[0].routes, [1, 2]);
    assert_eq!(waf.routes[0].remove, [1001]);
    assert_eq!(
        tx(&waf.routes[0].tx),
        "blocking_paranoia_level=3 paranoia_level=3 detection_paranoia_level=3 executing_paranoia_level=3"
    );
    let inspected: Vec<bool> = site.edge.routes.routes.iter().map(|route| route.waf).collect();
    assert_eq!(inspected, [true, true, true, true, false]);
}

#[test]
fn a_plan_tells_what_changes_in_the_waf() {
    let crs = [
        ("crs/crs-setup.conf", SETUP),
        ("crs/REQUEST-901-A.conf", RULE),
        ("own.conf", PHRASES),
        ("words.data", "a\n"),
    ];
    let before = "[waf]\ncrs = \"crs\"\nrules = [\"own.conf\"]\nparanoia = 1\n";
    let after = "[waf]\nmode = \"block\"\ncrs = \"crs\"\nrules = [\"own.conf\"]\nparanoia = 2\nexclude = [{ rule = 1001, path = \"/s\", arg = \"q\" }]\n";
    let folder = folder(&crs, before);
    let old = compiled(&folder).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("bastide.toml", &format!("[site]\naccess_log = false\n{ROUTE}{after}"));
    write("words.data", "b\n");
    write("crs/REQUEST-901-A.conf", &RULE.replace("@rx x", "@rx y"));
    let new = compiled(&folder).unwrap();
    let changes = control::plan::changes(Some((&old.site, &old.firewall)), (&new.site, &new.firewall));
    let told: Vec<String> =
        changes.iter().map(ToString::to_string).filter(|line| line.contains("waf")).collect();
    assert!(
        told.iter().any(|line| line.starts_with("~ waf  ") && line.contains("mode \"detect\" → \"block\"")),
        "{told:?}"
    );
    assert!(told.iter().any(|line| line.contains("paranoia 1 → 2")), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("~ waf Core Rule Set  content ")), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("~ waf file words.data")), "{told:?}");
    assert!(told.iter().any(|line| line == "+ waf exclusion of rule 1001 on /s in q"), "{told:?}");
    assert_eq!(told.len(), 4, "{told:?}");
}

/// The whole Core Rule Set, where a copy is beside the repository.
#[test]
fn the_core_rule_set_itself_loads() {
    let copy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata/crs/rules");
    let Ok(copy) = copy.canonicalize() else {
        println!("not tried: there is no copy of the Core Rule Set beside the repository");
        return;
    };
    let folder = folder(&[], &format!("[waf]\ncrs = \"{}\"\nparanoia = 4\n", copy.display()));
    let compiled = compiled(&folder).unwrap_or_else(|refusal| panic!("{refusal}"));
    let waf = compiled.site.edge.waf.unwrap();
    assert!(waf.settings.files.len() > 25 && waf.settings.data.len() > 15);
    assert!(waf.crs.unwrap().version.starts_with("4."));
    assert_eq!(compiled.warnings, [], "its own notes are not its user's concern");
}
