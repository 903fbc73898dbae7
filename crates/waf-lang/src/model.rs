//! What rule files say, once read: the shapes that `waf` compiles.
//!
//! Values are bytes, since rules may name any byte; names of collections' keys
//! keep the case they are written in and are compared without regard to it.

use std::sync::Arc;

/// Where something stands: the file's name as it was given, and the line, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `rules/REQUEST-901-INITIALIZATION.conf`.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
}

/// Everything the files say, with updates and removals applied.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    /// Rules and markers in order.
    pub items: Vec<Item>,
    /// What directives other than rules set.
    pub directives: Directives,
    /// What was understood and has no effect here, and why.
    pub notes: Vec<Note>,
}

/// Something said that has no effect in this engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where.
    pub at: Place,
    /// What and why: "`SecPcreMatchLimit` has no effect: expressions run in linear time".
    pub text: String,
}

/// One thing in the order of the files.
#[derive(Clone, Debug)]
pub enum Item {
    /// `SecRule`, `SecAction`, with what is chained to it.
    Rule(Box<Rule>),
    /// `SecMarker`: where `skipAfter` goes. A rule's own id is a marker too.
    Marker(Arc<str>),
}

/// A rule: one link, or several chained, of which all must match.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its id; 0 where a `SecAction` has none.
    pub id: u64,
    /// Where its first line is.
    pub at: Place,
    /// 1 to 5.
    pub phase: u8,
    /// What it does to the request when all links match, with `block` already
    /// replaced by what `SecDefaultAction` says for the phase.
    pub disruptive: Disruptive,
    /// `block` stood there: `SecRuleUpdateActionById` and reports want to know.
    pub is_block: bool,
    /// `status`, of its own or from the default action.
    pub status: Option<u16>,
    /// Whether a match is written down (`log`, `nolog`; default from the default action).
    pub log: bool,
    /// Whether a match makes the transaction relevant to the audit log.
    pub auditlog: bool,
    /// What to jump over after a match.
    pub skip: Option<Skip>,
    /// `severity`, 0 (emergency) to 7 (debug).
    pub severity: Option<u8>,
    /// `tag`, in order.
    pub tags: Vec<Macro>,
    /// `rev`.
    pub rev: Option<String>,
    /// `ver`.
    pub ver: Option<String>,
    /// `maturity`, 1 to 9.
    pub maturity: Option<u8>,
    /// `accuracy`, 1 to 9.
    pub accuracy: Option<u8>,
    /// The links, at least one.
    pub links: Vec<Link>,
}

/// One `SecRule` of a chain. `SecAction` is a link whose `test` is `None`.
#[derive(Clone, Debug)]
pub struct Link {
    /// Where.
    pub at: Place,
    /// What is looked at, and how; none for `SecAction`, which always matches.
    pub test: Option<Test>,
    /// Transformations in order, default ones first, `t:none` already resolved.
    pub transformations: Vec<waf_text::Transformation>,
    /// `multiMatch`: the operator looks after every transformation that changed something.
    pub multi_match: bool,
    /// `capture`: groups of `@rx`, or what others found, become `TX:0` to `TX:9`.
    pub capture: bool,
    /// `msg`.
    pub msg: Option<Macro>,
    /// `logdata`.
    pub logdata: Option<Macro>,
    /// What happens for each value that matches, in order.
    pub effects: Vec<Effect>,
    /// `tag` of a link after the first; the first one's are the rule's.
    pub tags: Vec<Macro>,
    /// `xmlns`: prefixes that the link's XPaths use, and their namespaces.
    pub namespaces: Vec<(String, String)>,
}

/// What a `SecRule` looks at, and how.
#[derive(Clone, Debug)]
pub struct Test {
    /// The variables, in order; exclusions (`!ARGS:x`) among them.
    pub targets: Vec<Target>,
    /// `!@…`: it matches where the operator does not.
    pub negated: bool,
    /// The operator.
    pub operator: Operator,
    /// As written, `@rx ^foo$`, for reports.
    pub written: String,
}

/// One variable of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Which.
    pub variable: Variable,
    /// Which of its members.
    pub selector: Selector,
    /// `&`: how many there are, instead of each.
    pub count: bool,
    /// `!`: these are left out of the rule's other targets.
    pub exclude: bool,
}

/// Which members of a collection.
#[derive(Clone, Debug, PartialEq)]
pub enum Selector {
    /// All, or the variable has no members.
    All,
    /// The one of this name, in any case.
    Name(Arc<[u8]>),
    /// Those whose name the expression finds: `/^param_/`.
    Regex(Arc<str>),
    /// For `XML`: the XPath.
    XPath(Arc<str>),
}

/// An operator and its argument.
#[derive(Clone, Debug)]
pub enum Operator {
    /// `@rx`: the text of the expression.
    Rx(Macro),
    /// `@rxGlobal`.
    RxGlobal(Macro),
    /// `@pm`, `@pmFromFile`, `@pmf`: the phrases, read.
    Pm(Vec<Vec<u8>>),
    /// `@contains`.
    Contains(Macro),
    /// `@containsWord`.
    ContainsWord(Macro),
    /// `@strmatch`.
    StrMatch(Macro),
    /// `@streq`.
    StrEq(Macro),
    /// `@within`.
    Within(Macro),
    /// `@beginsWith`.
    BeginsWith(Macro),
    /// `@endsWith`.
    EndsWith(Macro),
    /// `@eq`, and the next five: numbers, of what the argument expands to.
    Eq(Macro),
    /// `@ne` is not SecLang; `!@eq` is. `@gt`.
    Gt(Macro),
    /// `@ge`.
    Ge(Macro),
    /// `@lt`.
    Lt(Macro),
    /// `@le`.
    Le(Macro),
    /// `@ipMatch`, `@ipMatchFromFile`, `@ipMatchF`.
    IpMatch(Vec<waf_text::Network>),
    /// `@detectSQLi`.
    DetectSqli,
    /// `@detectXSS`.
    DetectXss,
    /// `@validateByteRange`: the bytes that are allowed.
    ValidateByteRange(waf_text::ByteSet),
    /// `@validateUrlEncoding`.
    ValidateUrlEncoding,
    /// `@validateUtf8Encoding`.
    ValidateUtf8Encoding,
    /// `@verifyCC`: an expression, and the check digit of what it finds.
    VerifyCc(String),
    /// `@verifySSN`.
    VerifySsn(String),
    /// `@verifyCPF`.
    VerifyCpf(String),
    /// `@verifySVNR`.
    VerifySvnr(String),
    /// `@validateNid`: the country's letters (`cl`, `us`), the expression.
    ValidateNid(waf_text::Nid, String),
    /// `@validateSchema`: a JSON schema, read; it matches what is not as it says.
    ValidateSchema(Arc<waf_text::schema::Schema>),
    /// `@unconditionalMatch`.
    Unconditional,
    /// `@noMatch`.
    Never,
}

/// A text with `%{…}` in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Macro(pub Vec<Part>);

/// A piece of a [`Macro`].
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// As it stands.
    Text(Arc<[u8]>),
    /// The first value of a variable, `%{tx.score}`, `%{REQUEST_HEADERS.host}`.
    Variable(Variable, Option<Arc<[u8]>>),
}

/// What a match does to the request.
#[derive(Clone, Debug, PartialEq)]
pub enum Disruptive {
    /// Nothing.
    Pass,
    /// Refuse, with the rule's status, or 403.
    Deny,
    /// Close the connection without an answer.
    Drop,
    /// Send elsewhere, with the rule's status, or 302.
    Redirect(Macro),
    /// No more rules.
    Allow(AllowScope),
}

/// How far `allow` reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowScope {
    /// The rest of the transaction but phase 5.
    Transaction,
    /// `allow:phase`: the rest of this phase.
    Phase,
    /// `allow:request`: until the response's phases.
    Request,
}

/// What to jump over.
#[derive(Clone, Debug, PartialEq)]
pub enum Skip {
    /// `skip:n`: the next n rules (a chain is one) of the phase.
    Rules(u32),
    /// `skipAfter:NAME`: to after the next marker of that name, or rule of that id.
    After(Arc<str>),
}

/// What happens for each value that matches.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// `setvar`.
    SetVar {
        /// `TX`, `IP`, `SESSION`, `USER`, `GLOBAL`, `RESOURCE`, `ENV`.
        collection: Variable,
        /// The member's name.
        name: Macro,
        /// What is done.
        to: Set,
    },
    /// `expirevar:ip.x=60`: seconds.
    ExpireVar {
        /// As above.
        collection: Variable,
        /// The member's name.
        name: Macro,
        /// Seconds.
        seconds: Macro,
    },
    /// `initcol:ip=%{REMOTE_ADDR}`.
    InitCollection(Variable, Macro),
    /// `setuid`.
    SetUser(Macro),
    /// `setsid`.
    SetSession(Macro),
    /// `setrsc`.
    SetResource(Macro),
    /// `setenv:name=value`.
    SetEnv(Macro, Macro),
    /// `ctl:…`.
    Control(Control),
    /// `sanitiseArg`, `sanitiseRequestHeader`, …: the value is masked in the audit
    /// log: the variable, and the member's name, or the matched one.
    Sanitise(Variable, Option<Arc<[u8]>>),
}

/// What `setvar` does.
#[derive(Clone, Debug, PartialEq)]
pub enum Set {
    /// `=value`.
    To(Macro),
    /// `=+n`.
    Add(Macro),
    /// `=-n`.
    Subtract(Macro),
    /// `!name`.
    Unset,
}

/// A setting for the rest of the transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Control {
    /// `ruleEngine`.
    RuleEngine(EngineMode),
    /// `auditEngine`.
    AuditEngine(AuditMode),
    /// `auditLogParts`, `+E` and the like: added letters, removed letters; or all anew.
    AuditLogParts(PartsChange),
    /// `requestBodyAccess`.
    RequestBodyAccess(bool),
    /// `responseBodyAccess`.
    ResponseBodyAccess(bool),
    /// `requestBodyLimit`, bytes.
    RequestBodyLimit(u64),
    /// `responseBodyLimit`, bytes.
    ResponseBodyLimit(u64),
    /// `forceRequestBodyVariable`.
    ForceRequestBodyVariable(bool),
    /// `requestBodyProcessor`.
    RequestBodyProcessor(Processor),
    /// `responseBodyProcessor`.
    ResponseBodyProcessor(Processor),
    /// `parseXmlIntoArgs`.
    ParseXmlIntoArgs(XmlIntoArgs),
    /// `ruleRemoveById`: ids and ranges, both ends included.
    RuleRemoveById(Vec<(u64, u64)>),
    /// `ruleRemoveByTag`: the whole tag, in the same case, as v3 compares it.
    RuleRemoveByTag(String),
    /// `ruleRemoveByMsg`: the whole message, in the same case.
    RuleRemoveByMsg(String),
    /// `ruleRemoveTargetById`: the target's `exclude` is not set.
    RuleRemoveTargetById(Vec<(u64, u64)>, Target),
    /// `ruleRemoveTargetByTag`.
    RuleRemoveTargetByTag(String, Target),
    /// `ruleRemoveTargetByMsg`.
    RuleRemoveTargetByMsg(String, Target),
    /// `hashEngine`, `hashEnforcement`, `debugLogLevel`: known, no effect here.
    Nothing,
}

/// `ctl:auditLogParts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartsChange {
    /// Letters added.
    Add(String),
    /// Letters taken away.
    Remove(String),
    /// These and no other.
    Set(String),
}

/// `SecRuleEngine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineMode {
    /// Rules run and act.
    On,
    /// Rules run and do not act.
    DetectionOnly,
    /// Rules do not run.
    Off,
}

/// `SecAuditEngine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditMode {
    /// Every transaction is logged.
    On,
    /// Those with a match that audits, or a relevant status.
    RelevantOnly,
    /// None.
    Off,
}

/// How a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    /// `application/x-www-form-urlencoded`.
    UrlEncoded,
    /// `multipart/form-data`.
    Multipart,
    /// JSON.
    Json,
    /// XML.
    Xml,
    /// GraphQL over HTTP.
    GraphQl,
    /// gRPC and protobuf.
    Protobuf,
    /// JSON, one text a line.
    NdJson,
    /// Not read; `REQUEST_BODY` alone.
    Raw,
}

/// `SecParseXmlIntoArgs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XmlIntoArgs {
    /// No.
    Off,
    /// Into `ARGS` and `XML`.
    On,
    /// Into `ARGS` alone.
    OnlyArgs,
}

/// What to do with a body larger than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeyondLimit {
    /// Refuse it.
    Reject,
    /// Inspect its beginning.
    ProcessPartial,
}

/// What directives other than rules set; `None` where the files say nothing.
#[derive(Clone, Debug, Default)]
pub struct Directives {
    /// `SecRuleEngine`.
    pub rule_engine: Option<EngineMode>,
    /// `SecRequestBodyAccess`.
    pub request_body_access: Option<bool>,
    /// `SecRequestBodyLimit`, bytes.
    pub request_body_limit: Option<u64>,
    /// `SecRequestBodyNoFilesLimit`, bytes.
    pub request_body_no_files_limit: Option<u64>,
    /// `SecRequestBodyLimitAction`.
    pub request_body_limit_action: Option<BeyondLimit>,
    /// `SecRequestBodyJsonDepthLimit`.
    pub json_depth_limit: Option<u32>,
    /// `SecArgumentsLimit`.
    pub arguments_limit: Option<u32>,
    /// `SecArgumentSeparator`.
    pub argument_separator: Option<u8>,
    /// `SecResponseBodyAccess`.
    pub response_body_access: Option<bool>,
    /// `SecResponseBodyLimit`, bytes.
    pub response_body_limit: Option<u64>,
    /// `SecResponseBodyLimitAction`.
    pub response_body_limit_action: Option<BeyondLimit>,
    /// `SecResponseBodyMimeType`; `Some(vec![])` after `SecResponseBodyMimeTypesClear`.
    pub response_mime_types: Option<Vec<String>>,
    /// `SecUploadFileLimit`.
    pub upload_file_limit: Option<u32>,
    /// `SecParseXmlIntoArgs`.
    pub xml_into_args: Option<XmlIntoArgs>,
    /// `SecCollectionTimeout`, seconds.
    pub collection_timeout_s: Option<u32>,
    /// `SecWebAppId`.
    pub web_app_id: Option<String>,
    /// `SecComponentSignature`, in order.
    pub component_signatures: Vec<String>,
    /// `SecUnicodeMapFile`'s code page and the mapping it names: code point → byte.
    pub unicode_map: Option<Arc<waf_text::UnicodeMap>>,
    /// `SecAuditEngine` and its company.
    pub audit: Audit,
}

/// `SecAudit…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// `SecAuditEngine`.
    pub engine: Option<AuditMode>,
    /// `SecAuditLogParts`.
    pub parts: Option<String>,
    /// `SecAuditLogRelevantStatus`: an expression.
    pub relevant_status: Option<String>,
    /// `SecAuditLogFormat JSON`, not `Native`.
    pub json: Option<bool>,
    /// `SecAuditLogType Concurrent`, not `Serial`.
    pub concurrent: Option<bool>,
    /// `SecAuditLog`: a path.
    pub path: Option<String>,
    /// `SecAuditLogStorageDir`: a folder.
    pub storage_dir: Option<String>,
    /// `SecAuditLogFileMode`.
    pub file_mode: Option<u32>,
    /// `SecAuditLogDirMode`.
    pub dir_mode: Option<u32>,
}

/// Every variable of SecLang that the engine knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // Their names are the manual's.
#[repr(u8)]
pub enum Variable {
    // What the request's head and body give: they do not change within a phase.
    Args,
    ArgsCombinedSize,
    ArgsGet,
    ArgsGetNames,
    ArgsNames,
    ArgsPost,
    ArgsPostNames,
    AuthType,
    Files,
    FilesCombinedSize,
    FilesNames,
    FilesSizes,
    FilesTmpContent,
    FilesTmpNames,
    FullRequest,
    FullRequestLength,
    InboundDataError,
    MultipartBoundaryQuoted,
    MultipartBoundaryWhitespace,
    MultipartCrlfLfLines,
    MultipartDataAfter,
    MultipartDataBefore,
    MultipartFileLimitExceeded,
    MultipartFilename,
    MultipartHeaderFolding,
    MultipartInvalidHeaderFolding,
    MultipartInvalidPart,
    MultipartInvalidQuoting,
    MultipartLfLine,
    MultipartMissingSemicolon,
    MultipartName,
    MultipartPartHeaders,
    MultipartSemicolonMissing,
    MultipartStrictError,
    MultipartUnmatchedBoundary,
    PathInfo,
    QueryString,
    RemoteAddr,
    RemoteHost,
    RemotePort,
    RemoteUser,
    ReqbodyError,
    ReqbodyErrorMsg,
    ReqbodyProcessor,
    ReqbodyProcessorError,
    ReqbodyProcessorErrorMsg,
    RequestBasename,
    RequestBody,
    RequestBodyLength,
    RequestCookies,
    RequestCookiesNames,
    RequestFilename,
    RequestHeaders,
    RequestHeadersNames,
    RequestLine,
    RequestMethod,
    RequestProtocol,
    RequestUri,
    RequestUriRaw,
    ServerAddr,
    ServerName,
    ServerPort,
    UniqueId,
    UrlencodedError,
    Xml,
    // What the response gives.
    OutboundDataError,
    ResponseBody,
    ResponseContentLength,
    ResponseContentType,
    ResponseHeaders,
    ResponseHeadersNames,
    ResponseProtocol,
    ResponseStatus,
    Status,
    StatusLine,
    // What changes while rules run.
    Duration,
    Env,
    Geo,
    Global,
    HighestSeverity,
    Ip,
    MatchedVar,
    MatchedVarName,
    MatchedVars,
    MatchedVarsNames,
    ModsecBuild,
    Resource,
    Rule,
    Session,
    SessionId,
    Time,
    TimeDay,
    TimeEpoch,
    TimeHour,
    TimeMin,
    TimeMon,
    TimeSec,
    TimeWday,
    TimeYear,
    Tx,
    User,
    UserId,
    WebAppId,
    WebserverErrorLog,
}
