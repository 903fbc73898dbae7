//! Directives that set something, and those that set nothing here.

use crate::control::{audit_mode, audit_parts, engine_mode, number, switch, xml_into_args};
use crate::error::{Wrong, shown};
use crate::lines::Arg;
use crate::model::{BeyondLimit, Directives};
use crate::target::utf8;

type Set = fn(&mut Directives, &[u8]) -> Result<(), Wrong>;

/// What a directive does.
pub(crate) enum Directive {
    /// It sets something, from one argument.
    One(Set),
    /// It sets something, from each of its arguments.
    Each(Set),
    /// It sets something without an argument.
    Alone(fn(&mut Directives)),
    /// It has no effect here, and why.
    Nothing(&'static str),
    /// The same, where it says `Off`; `On` is refused: why, and what to do.
    OffAlone(&'static str, &'static str),
    /// It is not supported: why, and what to do.
    Refused(&'static str, &'static str),
    /// The loader itself knows it.
    Loader,
}
use Directive::{Alone, Each, Loader, Nothing, OffAlone, One, Refused};

const NO_UPLOADS: &str = "uploads are inspected in memory and not kept";
const NO_HASH: (&str, &str) = ("links are not signed here", "take it out");
const NO_NET: &str = "rules look nothing up over the network";

/// A directive of one argument, which a function reads into a field.
macro_rules! set {
    ($($field:ident).+ = $read:expr) => {
        One(|directives, value| {
            directives.$($field).+ = $read(value)?.into();
            Ok(())
        })
    };
}

/// Every directive by its name, sorted without regard to case.
const DIRECTIVES: &[(&str, Directive)] = &[
    ("Include", Loader),
    ("IncludeOptional", Loader),
    ("SecAction", Loader),
    ("SecArgumentSeparator", set!(argument_separator = separator)),
    ("SecArgumentsLimit", set!(arguments_limit = small)),
    ("SecAuditEngine", set!(audit.engine = audit_mode)),
    ("SecAuditLog", set!(audit.path = log_path)),
    ("SecAuditLog2", Nothing("there is one audit log")),
    ("SecAuditLogDirMode", set!(audit.dir_mode = mode)),
    ("SecAuditLogFileMode", set!(audit.file_mode = mode)),
    ("SecAuditLogFormat", set!(audit.json = json)),
    ("SecAuditLogParts", set!(audit.parts = audit_parts)),
    ("SecAuditLogPrefix", Nothing("records of one site have no prefix")),
    ("SecAuditLogRelevantStatus", set!(audit.relevant_status = text)),
    ("SecAuditLogStorageDir", set!(audit.storage_dir = text)),
    ("SecAuditLogStorageDirMode", set!(audit.dir_mode = mode)),
    ("SecAuditLogType", set!(audit.concurrent = concurrent)),
    ("SecCacheTransformations", Nothing("each transformation of a value is done once anyway")),
    ("SecChrootDir", Nothing("the processes' folders are the site's to choose")),
    ("SecCollectionTimeout", set!(collection_timeout_s = small)),
    ("SecComponentSignature", One(component_signature)),
    ("SecConnEngine", Nothing("connections are limited by the site's file, `[edge]`")),
    ("SecConnReadStateLimit", Nothing("connections are limited by the site's file, `[edge]`")),
    ("SecConnWriteStateLimit", Nothing("connections are limited by the site's file, `[edge]`")),
    ("SecContentInjection", OffAlone("answers are not rewritten", "let the application do it")),
    ("SecCookieFormat", One(cookie_format)),
    ("SecCookieV0Separator", One(cookie_separator)),
    ("SecDataDir", Nothing("collections are kept in memory")),
    ("SecDebugLog", Nothing("`bastide waf explain` shows what rules see")),
    ("SecDebugLogLevel", Nothing("`bastide waf explain` shows what rules see")),
    ("SecDefaultAction", Loader),
    (
        "SecDisableBackendCompression",
        Nothing("whether answers are compressed is between the edge and the application"),
    ),
    (
        "SecGeoLookupDb",
        Refused(
            "there is no database of places",
            "deny networks with `@ipMatchFromFile`, or in the firewall",
        ),
    ),
    ("SecGsbLookupDb", Refused(NO_NET, "take it out")),
    (
        "SecGuardianLog",
        Refused("nothing is piped to a program", "follow the events instead: each match is one line"),
    ),
    ("SecHashEngine", OffAlone(NO_HASH.0, NO_HASH.1)),
    ("SecHashKey", Refused(NO_HASH.0, NO_HASH.1)),
    ("SecHashMethodPm", Refused(NO_HASH.0, NO_HASH.1)),
    ("SecHashMethodRx", Refused(NO_HASH.0, NO_HASH.1)),
    ("SecHashParam", Refused(NO_HASH.0, NO_HASH.1)),
    ("SecHttpBlKey", Nothing(NO_NET)),
    ("SecInterceptOnError", Nothing("a rule that cannot be evaluated is refused when it loads")),
    ("SecMarker", Loader),
    ("SecPcreMatchLimit", Nothing("expressions run in linear time")),
    ("SecPcreMatchLimitRecursion", Nothing("expressions run in linear time")),
    ("SecParseXmlIntoArgs", set!(xml_into_args = xml_into_args)),
    ("SecReadStateLimit", Nothing("connections are limited by the site's file, `[edge]`")),
    (
        "SecRemoteRules",
        Refused(
            "rules are not fetched over the network",
            "fetch the file yourself, look at it, and `Include` it",
        ),
    ),
    ("SecRemoteRulesFailAction", Nothing("rules are not fetched over the network")),
    ("SecRequestBodyAccess", set!(request_body_access = switch)),
    ("SecRequestBodyInMemoryLimit", Nothing("bodies are inspected in memory, up to `SecRequestBodyLimit`")),
    ("SecRequestBodyJsonDepthLimit", set!(json_depth_limit = small)),
    ("SecRequestBodyLimit", set!(request_body_limit = number)),
    ("SecRequestBodyLimitAction", set!(request_body_limit_action = beyond)),
    ("SecRequestBodyNoFilesLimit", set!(request_body_no_files_limit = number)),
    ("SecRequestEncoding", Refused("values are bytes; no encoding is assumed", "use `t:utf8toUnicode`")),
    ("SecResponseBodyAccess", set!(response_body_access = switch)),
    ("SecResponseBodyLimit", set!(response_body_limit = number)),
    ("SecResponseBodyLimitAction", set!(response_body_limit_action = beyond)),
    ("SecResponseBodyMimeType", Each(response_mime_type)),
    ("SecResponseBodyMimeTypesClear", Alone(|d| d.response_mime_types = Some(Vec::new()))),
    ("SecRule", Loader),
    ("SecRuleEngine", set!(rule_engine = engine_mode)),
    ("SecRuleInheritance", Nothing("there is one context: rules are inherited from nowhere")),
    ("SecRulePerfTime", Nothing("`bastide waf explain` and the metrics show what rules cost")),
    ("SecRuleRemoveById", Loader),
    ("SecRuleRemoveByMsg", Loader),
    ("SecRuleRemoveByTag", Loader),
    ("SecRuleScript", Refused("rules run no program, and there is no Lua", "write it as `SecRule`")),
    ("SecRuleUpdateActionById", Loader),
    ("SecRuleUpdateTargetById", Loader),
    ("SecRuleUpdateTargetByMsg", Loader),
    ("SecRuleUpdateTargetByTag", Loader),
    ("SecSensorId", Nothing("events name the site")),
    ("SecServerSignature", Nothing("the `Server` header is the site's to set")),
    ("SecStatusEngine", Nothing("nothing is reported to anyone")),
    ("SecStreamInBodyInspection", Nothing("bodies are inspected as they are parsed")),
    ("SecStreamOutBodyInspection", Nothing("bodies are inspected as they are parsed")),
    ("SecTmpDir", Nothing("nothing is written to temporary files")),
    ("SecTmpSaveUploadedFiles", Nothing(NO_UPLOADS)),
    (
        "SecUnicodeCodePage",
        Refused("the code page stands with the map", "write `SecUnicodeMapFile unicode.mapping 20127`"),
    ),
    ("SecUnicodeMapFile", Loader),
    ("SecUploadDir", Nothing(NO_UPLOADS)),
    ("SecUploadFileLimit", set!(upload_file_limit = small)),
    ("SecUploadFileMode", Nothing(NO_UPLOADS)),
    ("SecUploadKeepFiles", Nothing(NO_UPLOADS)),
    ("SecWebAppId", set!(web_app_id = text)),
    ("SecWriteStateLimit", Nothing("connections are limited by the site's file, `[edge]`")),
    (
        "SecXmlExternalEntity",
        OffAlone("external entities read the server's files for the attacker", "leave it `Off`"),
    ),
];

/// The directive of this name, in any case, with its name as the manual writes it.
pub(crate) fn find(name: &[u8]) -> Result<(&'static str, &'static Directive), Wrong> {
    let found = DIRECTIVES.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
    if let Some((known, directive)) = found {
        return Ok((known, directive));
    }
    if name.starts_with(b"<") {
        return Err(Wrong::new(
            format!("`{}` is Apache's, not SecLang", shown(name)),
            "take the section's lines out, and what is inside if it should not apply; routes have their own settings in the site's file",
        ));
    }
    Err(Wrong::unknown("directive", name, DIRECTIVES.iter().map(|(known, _)| *known)))
}

impl Directive {
    /// Does what the directive says; answers what is to be noted.
    pub(crate) fn apply(
        &self,
        name: &str,
        args: &[Arg<'_>],
        to: &mut Directives,
    ) -> Result<Option<String>, Wrong> {
        match self {
            One(set) => {
                let [arg] = args else { return Err(count(name, args.len(), "one argument")) };
                set(to, &arg.text).map_err(|wrong| prefix(name, wrong))?;
            }
            Each(set) => {
                if args.is_empty() {
                    return Err(count(name, 0, "at least one argument"));
                }
                for arg in args {
                    set(to, &arg.text).map_err(|wrong| prefix(name, wrong))?;
                }
            }
            Alone(set) => {
                if !args.is_empty() {
                    return Err(count(name, args.len(), "no argument"));
                }
                set(to);
            }
            Nothing(why) => return Ok(Some(format!("`{name}` has no effect: {why}"))),
            OffAlone(why, instead) => {
                let [arg] = args else { return Err(count(name, args.len(), "one argument")) };
                if !arg.text.eq_ignore_ascii_case(b"off") {
                    return Err(Wrong::new(
                        format!("`{name} {}` is not supported: {why}", shown(&arg.text)),
                        *instead,
                    ));
                }
            }
            Refused(why, instead) => {
                return Err(Wrong::new(format!("directive `{name}` is not supported: {why}"), *instead));
            }
            Loader => unreachable!("the loader takes its own directives"),
        }
        Ok(None)
    }
}

fn prefix(name: &str, wrong: Wrong) -> Wrong {
    Wrong { what: format!("`{name}`: {}", wrong.what), ..wrong }
}

pub(crate) fn count(name: &str, found: usize, wanted: &str) -> Wrong {
    let hint =
        if found == 0 { "write it behind the name" } else { "an argument with blanks is quoted with `\"`" };
    Wrong::new(format!("`{name}` takes {wanted}, and has {found}"), hint)
}

fn text(value: &[u8]) -> Result<String, Wrong> {
    Ok(utf8(value)?.to_owned())
}

fn small(value: &[u8]) -> Result<u32, Wrong> {
    u32::try_from(number(value)?)
        .map_err(|_| Wrong::new(format!("`{}` is too large", shown(value)), "write at most 4294967295"))
}

fn either(value: &[u8], yes: &str, no: &str) -> Result<bool, Wrong> {
    if value.eq_ignore_ascii_case(yes.as_bytes()) {
        return Ok(true);
    }
    if value.eq_ignore_ascii_case(no.as_bytes()) {
        return Ok(false);
    }
    Err(Wrong::new(format!("`{}` is not known", shown(value)), format!("write `{yes}` or `{no}`")))
}

fn concurrent(value: &[u8]) -> Result<bool, Wrong> {
    if value.eq_ignore_ascii_case(b"parallel") {
        return Ok(true);
    }
    if value.eq_ignore_ascii_case(b"https") {
        return Err(Wrong::new(
            "records are not sent to a server",
            "write `Serial` or `Concurrent`, and collect the file",
        ));
    }
    either(value, "Concurrent", "Serial")
}

fn json(value: &[u8]) -> Result<bool, Wrong> {
    either(value, "JSON", "Native")
}

fn component_signature(directives: &mut Directives, value: &[u8]) -> Result<(), Wrong> {
    directives.component_signatures.push(text(value)?);
    Ok(())
}

fn response_mime_type(directives: &mut Directives, value: &[u8]) -> Result<(), Wrong> {
    directives.response_mime_types.get_or_insert_default().push(text(value)?.to_ascii_lowercase());
    Ok(())
}

fn beyond(value: &[u8]) -> Result<BeyondLimit, Wrong> {
    let reject = either(value, "Reject", "ProcessPartial")?;
    Ok(if reject { BeyondLimit::Reject } else { BeyondLimit::ProcessPartial })
}

fn separator(value: &[u8]) -> Result<u8, Wrong> {
    match value {
        [byte] => Ok(*byte),
        _ => Err(Wrong::new(format!("`{}` is not one byte", shown(value)), "write `&` or `;`")),
    }
}

fn log_path(value: &[u8]) -> Result<String, Wrong> {
    if value.starts_with(b"|") {
        return Err(Wrong::new("records are not piped to a program", "name a file, and read it"));
    }
    text(value)
}

/// Octal, as `chmod`; `default` leaves it unset.
fn mode(value: &[u8]) -> Result<Option<u32>, Wrong> {
    if value.eq_ignore_ascii_case(b"default") {
        return Ok(None);
    }
    std::str::from_utf8(value)
        .ok()
        .filter(|text| !text.starts_with('+'))
        .and_then(|text| u32::from_str_radix(text, 8).ok())
        .filter(|mode| *mode <= 0o7777)
        .map(Some)
        .ok_or_else(|| Wrong::new(format!("`{}` is not a mode", shown(value)), "write it in octal: `0640`"))
}

fn cookie_format(_: &mut Directives, value: &[u8]) -> Result<(), Wrong> {
    if value == b"0" {
        return Ok(());
    }
    Err(Wrong::new(
        format!("`{}` is not supported: browsers send cookies in one format (RFC 6265 §4.2)", shown(value)),
        "write `0`, or take it out",
    ))
}

fn cookie_separator(_: &mut Directives, value: &[u8]) -> Result<(), Wrong> {
    if value == b";" {
        return Ok(());
    }
    Err(Wrong::new(
        format!("`{}` is not supported: cookies are separated by `;` (RFC 6265 §4.2.1)", shown(value)),
        "take it out",
    ))
}
